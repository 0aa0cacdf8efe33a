//! What can be measured: something that answers row numbers with rows.

/// One request at a time, for latency.
pub trait Reader {
    /// Reads the rows `ids` into `rows`, ten floats each, in order. Every row is there.
    ///
    /// # Errors
    /// The connection broke, or a row was missing.
    fn read(&mut self, ids: &[u64], rows: &mut Vec<f32>) -> anyhow::Result<()>;
}

/// Many requests in flight, for rate; reads or writes.
pub trait Pipeline {
    /// Sends one request of these rows.
    ///
    /// # Errors
    /// The connection broke.
    fn send(&mut self, ids: &[u64]) -> anyhow::Result<()>;

    /// Waits for the oldest answer, and says how many rows it held (or acknowledged).
    ///
    /// # Errors
    /// The connection broke, or the answer was an error.
    fn receive(&mut self) -> anyhow::Result<usize>;
}

impl<T: Reader + ?Sized> Reader for Box<T> {
    fn read(&mut self, ids: &[u64], rows: &mut Vec<f32>) -> anyhow::Result<()> {
        (**self).read(ids, rows)
    }
}

impl<T: Pipeline + ?Sized> Pipeline for Box<T> {
    fn send(&mut self, ids: &[u64]) -> anyhow::Result<()> {
        (**self).send(ids)
    }

    fn receive(&mut self) -> anyhow::Result<usize> {
        (**self).receive()
    }
}
