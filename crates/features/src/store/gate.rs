//! Where the engine asks what is asked of rows.

use std::sync::Arc;

use arc_swap::ArcSwap;
use thermae_engine::{Catalogue, Gate, WriteBatch};
use thermae_env::Env;

use crate::registry::Published;

/// The rules of a registry's present version, whichever that is when a batch comes.
pub(super) struct RulesGate<E: Env> {
    env: E,
    published: Arc<ArcSwap<Published>>,
}

impl<E: Env> RulesGate<E> {
    pub fn new(env: E, published: Arc<ArcSwap<Published>>) -> Self {
        RulesGate { env, published }
    }
}

impl<E: Env> Gate for RulesGate<E> {
    fn admit(&self, batch: &mut WriteBatch, catalogue: &Catalogue) {
        self.published.load().rules.admit(batch, catalogue, || self.env.now_us());
    }
}
