//! glommio: a task for each connection on one pinned executor that spins instead of parking.

use super::place::{Place, RECEIVE_BYTES};
use super::service::{Service, Session};
use crate::pin;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::net::{TcpListener, TcpStream};
use glommio::{LocalExecutorBuilder, Placement, spawn_local};
use std::cell::RefCell;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

/// The version that Cargo.lock holds.
pub const VERSION: &str = "0.9.0";
/// Registered memory for disk reads, of which there are none: the least that glommio takes, so that
/// the default limit of locked memory is enough for it.
const DISK_MEMORY_BYTES: usize = 64 << 10;
/// It never parks while it serves.
const SPIN: Duration = Duration::from_secs(3600);

/// Serves until every client has closed.
///
/// # Errors
/// The kernel gives no rings, a connection broke, or a client sent nonsense.
pub fn serve(place: &Place) -> anyhow::Result<()> {
    let builder = LocalExecutorBuilder::new(Placement::Fixed(pin::SERVER_CORE));
    let executor = builder.spin_before_park(SPIN).io_memory(DISK_MEMORY_BYTES).make();
    executor.map_err(failed)?.run(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        place.listening.send(listener.local_addr().map_err(failed)?)?;
        let service = Rc::new(RefCell::new(Service::new()));
        let mut tasks = Vec::new();
        for _ in 0..place.connections {
            let stream = listener.accept().await.map_err(failed)?;
            stream.set_nodelay(true).map_err(failed)?;
            tasks.push(spawn_local(converse(stream, Rc::clone(&service))));
        }
        for task in tasks {
            task.await?;
        }
        Ok(())
    })
}

async fn converse(mut stream: TcpStream, service: Rc<RefCell<Service>>) -> anyhow::Result<()> {
    let (mut session, mut buffer) = (Session::default(), vec![0; RECEIVE_BYTES]);
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        session.receive(&mut service.borrow_mut(), &buffer[..read])?;
        stream.write_all(&session.out).await?;
        session.out.clear();
    }
}

fn failed(error: glommio::GlommioError<()>) -> anyhow::Error {
    anyhow::anyhow!("glommio: {error}")
}
