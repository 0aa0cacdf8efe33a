//! Reads on their way, for `await`: the answer's arrival calls a function of Python.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use pyo3::prelude::*;
use thermae_client::PendingRead;

use crate::answer::{Answer, Columns, Held};
use crate::errors::{Fault, Result};

/// A read on its way.
#[pyclass(frozen, module = "thermae._thermae")]
pub struct Pending {
    read: Mutex<Option<PendingRead>>,
    columns: Arc<Columns>,
    rows: usize,
}

impl Pending {
    /// Of so many rows.
    pub fn new(read: PendingRead, columns: Arc<Columns>, rows: usize) -> Self {
        Pending { read: Mutex::new(Some(read)), columns, rows }
    }
}

#[pymethods]
impl Pending {
    /// The answer, or `None` if it has not come: then `arrived` is called when it has, from another thread.
    fn poll(&self, py: Python<'_>, arrived: Py<PyAny>) -> Result<Option<Answer>> {
        let waker = Waker::from(Arc::new(Arrival(arrived)));
        let polled = py.detach(|| {
            let mut held = self.read.lock().unwrap_or_else(PoisonError::into_inner);
            let read = held.as_mut().ok_or_else(|| Fault::invalid("the answer was taken"))?;
            let polled = Pin::new(read).poll(&mut Context::from_waker(&waker));
            if polled.is_ready() {
                *held = None;
            }
            Ok::<_, Fault>(polled)
        })?;
        match polled {
            Poll::Pending => Ok(None),
            Poll::Ready(answer) => {
                let answer = answer?;
                let read_time = answer.read_time();
                let columns = Arc::clone(&self.columns);
                Ok(Some(Answer::new(Held::Wire(answer), columns, self.rows, read_time)))
            }
        }
    }
}

/// Calls a function of Python when it is woken.
struct Arrival(Py<PyAny>);

impl Wake for Arrival {
    fn wake(self: Arc<Self>) {
        Python::attach(|py| {
            // The event loop may be closed by now: then nobody waits.
            let _ = self.0.call0(py);
        });
    }
}
