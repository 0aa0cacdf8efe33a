//! What is damaged is set aside: everything else goes on. It is told as long as it is, and tried again at times that
//! lie further and further apart.

use std::collections::BTreeMap;

use thermae_formats::ViewId;

/// How long a thing is left alone the first time, and at most, nanoseconds: trying a table again is reading it through.
const REST_NS: u64 = 60_000_000_000;
const REST_MAX_NS: u64 = 3_600_000_000_000;

/// What can be damaged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Thing {
    /// A table of the warm tier, by its number: what it has of the partitions that its damage reaches is not archived.
    Table(u64),
    /// A file of the archive, by its object: it is not merged.
    Object(String),
    /// The table log of a view in the archive: nothing of the view is archived or read there.
    View(ViewId),
}

/// The things that are set aside.
#[derive(Debug, Default)]
pub struct Aside {
    things: BTreeMap<Thing, Held>,
}

#[derive(Debug)]
struct Held {
    why: String,
    again_ns: u64,
    rest_ns: u64,
}

impl Aside {
    /// Sets a thing aside, for twice as long as the last time.
    pub fn set(&mut self, thing: Thing, why: String, now_ns: u64) {
        let before = self.things.get(&thing).map_or(0, |held| held.rest_ns);
        let rest_ns = (2 * before).clamp(REST_NS, REST_MAX_NS);
        self.things.insert(thing, Held { why, again_ns: now_ns.saturating_add(rest_ns), rest_ns });
    }

    /// It is well again, or gone.
    pub fn clear(&mut self, thing: &Thing) {
        self.things.remove(thing);
    }

    /// Forgets the things that are not there any more.
    pub fn retain(&mut self, is_there: impl Fn(&Thing) -> bool) {
        self.things.retain(|thing, _| is_there(thing));
    }

    /// Why it is set aside, if it is.
    pub fn why(&self, thing: &Thing) -> Option<&str> {
        self.things.get(thing).map(|held| &*held.why)
    }

    /// The views that are, and why.
    pub fn views(&self) -> impl Iterator<Item = (ViewId, &str)> {
        self.things.iter().filter_map(|(thing, held)| match thing {
            Thing::View(view) => Some((*view, &*held.why)),
            _ => None,
        })
    }

    /// Whether it is to be left alone at this time.
    pub fn rests(&self, thing: &Thing, now_ns: u64) -> bool {
        self.things.get(thing).is_some_and(|held| now_ns < held.again_ns)
    }

    /// Whether it is set aside, and may be tried again at this time.
    pub fn is_due(&self, thing: &Thing, now_ns: u64) -> bool {
        self.things.get(thing).is_some_and(|held| now_ns >= held.again_ns)
    }

    /// What is wrong with each, for people.
    pub fn told(&self) -> Vec<String> {
        self.things.values().map(|held| held.why.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_rests_longer_each_time_and_not_at_all_once_it_is_well() {
        let (mut aside, thing) = (Aside::default(), Thing::Table(7));
        assert!(!aside.rests(&thing, 0) && !aside.is_due(&thing, 0));
        let mut now_ns = 0;
        for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
            aside.set(thing.clone(), "damaged".to_owned(), now_ns);
            now_ns += minutes * REST_NS;
            assert!(aside.rests(&thing, now_ns - 1) && !aside.rests(&thing, now_ns));
            assert!(!aside.is_due(&thing, now_ns - 1) && aside.is_due(&thing, now_ns));
        }
        assert_eq!(aside.told(), ["damaged"]);
        aside.clear(&thing);
        assert!(!aside.is_due(&thing, now_ns) && aside.told().is_empty());
        aside.set(thing.clone(), "again".to_owned(), 0);
        assert!(aside.is_due(&thing, REST_NS), "it begins anew");
    }
}
