//! No readiness at all: a non-blocking `recv` on each connection in turn. It is the floor of one
//! connection; with many it pays one system call for each, busy or not.

use super::peer::Peer;
use super::place::{Place, RECEIVE_BYTES};
use super::service::Service;

/// Serves until every client has closed.
///
/// # Errors
/// A connection broke, or a client sent nonsense.
pub fn serve(place: &Place) -> anyhow::Result<()> {
    let streams = place.accept()?.into_iter();
    let mut peers = streams.map(Peer::new).collect::<Result<Vec<_>, _>>()?;
    let (mut service, mut buffer) = (Service::new(), vec![0; RECEIVE_BYTES]);
    while !peers.is_empty() {
        let mut failed = None;
        peers.retain_mut(|peer| {
            let turned = peer.turn(&mut service, &mut buffer);
            turned.unwrap_or_else(|error| {
                failed = Some(error);
                false
            })
        });
        if let Some(error) = failed {
            return Err(error);
        }
    }
    Ok(())
}
