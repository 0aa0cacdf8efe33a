//! A plain epoll loop: edge-triggered, polled without sleeping.

use super::peer::Peer;
use super::place::{Place, RECEIVE_BYTES};
use super::service::Service;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

/// Serves until every client has closed.
///
/// # Errors
/// The system gives no epoll, a connection broke, or a client sent nonsense.
pub fn serve(place: &Place) -> anyhow::Result<()> {
    let queue = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut peers = Vec::new();
    for (at, stream) in place.accept()?.into_iter().enumerate() {
        let peer = Peer::new(stream)?;
        // Edges spare the kernel a second look at each socket, and tell when a full one has room.
        let edges = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        epoll::add(&queue, &peer.stream, epoll::EventData::new_u64(at as u64), edges)?;
        peers.push(Some(peer));
    }
    let (mut service, mut buffer) = (Service::new(), vec![0; RECEIVE_BYTES]);
    let mut events = Vec::with_capacity(peers.len().max(1));
    let (mut open, at_once) = (peers.len(), Timespec { tv_sec: 0, tv_nsec: 0 });
    while open > 0 {
        epoll::wait(&queue, spare_capacity(&mut events), Some(&at_once))?;
        for event in events.drain(..) {
            let Some(place) = peers.get_mut(event.data.u64() as usize) else { continue };
            let Some(peer) = place else { continue };
            if !peer.turn(&mut service, &mut buffer)? {
                // Closing the socket takes it off the queue too.
                *place = None;
                open -= 1;
            }
        }
    }
    Ok(())
}
