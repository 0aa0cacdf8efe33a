//! Our production ring, polled as a busy shard polls it.

use super::place::Place;
use super::service::{Service, Session};
use anyhow::Context;
use thermae_env::{Event, Ring, Stream, UringRing, Wait};

/// Serves until every client has closed.
///
/// # Errors
/// The kernel gives no ring, or a client sent nonsense.
pub fn serve(place: &Place) -> anyhow::Result<()> {
    let mut ring = UringRing::new()?;
    for stream in place.accept()? {
        ring.adopt(Stream::Tcp(stream));
    }
    // A new ring numbers its slots from 0.
    let mut sessions: Vec<Session> = Vec::new();
    sessions.resize_with(place.connections, Session::default);
    let (mut service, mut events, mut open) = (Service::new(), Vec::new(), place.connections);
    while open > 0 {
        ring.turn(Wait::Poll, &mut events)?;
        for event in events.drain(..) {
            match event {
                Event::Received { conn, data } => {
                    let session = sessions.get_mut(conn.slot() as usize);
                    let session = session.context("a connection that nobody made")?;
                    session.receive(&mut service, &data)?;
                    ring.recycle(data);
                    // The next turn begins with one send for all that a connection was answered.
                    if !session.out.is_empty() {
                        ring.send(conn, std::mem::take(&mut session.out));
                    }
                }
                Event::Sent { buf, .. } => service.give_spare(buf),
                Event::Closed { .. } => open -= 1,
                _ => {}
            }
        }
    }
    Ok(())
}
