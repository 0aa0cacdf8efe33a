//! The one writer of a registry, and what it publishes.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use thermae_engine::{Catalogue, Handle};
use thermae_env::Env;
use thermae_formats::FeatureView;

use super::check::check;
use super::database::{Database, Held, LOG_ENTRIES_MAX, Write};
use super::plan::{Change, ChangeAction, Plan, plan};
use super::records::{Intent, LogEntry};
use crate::definitions::Definitions;
use crate::error::{Error, Refusal};
use crate::model::{About, Kind, Lifecycle, Name, Object, ObjectId};
use crate::state::{State, Switch};
use crate::validation::Book;

/// Where feature views are defined: an engine.
pub trait ViewStore {
    /// What is defined now.
    fn catalogue(&self) -> Arc<Catalogue>;
    /// Defines views: all or none, durable when it returns. Repeating it changes nothing.
    ///
    /// # Errors
    /// As [`Handle::apply`].
    fn define(&self, views: &[FeatureView]) -> Result<(), thermae_engine::Error>;
}

impl<E: Env> ViewStore for Handle<E> {
    fn catalogue(&self) -> Arc<Catalogue> {
        Handle::catalogue(self)
    }

    fn define(&self, views: &[FeatureView]) -> Result<(), thermae_engine::Error> {
        self.apply(views).map(|_| ())
    }
}

/// One version of everything, as readers take it: it never changes.
#[derive(Debug)]
pub struct Published {
    /// The objects.
    pub state: State,
    /// How their rows are laid out.
    pub catalogue: Arc<Catalogue>,
    /// What their rows are asked for when they are written.
    pub rules: Book,
}

impl Published {
    fn new(state: State, catalogue: Arc<Catalogue>, before: &Book) -> Self {
        let rules = Book::new(&state, &catalogue, before);
        Published { state, catalogue, rules }
    }
}

/// How definitions are applied.
#[derive(Clone, Debug, Default)]
pub struct ApplyOptions {
    /// Apply only if the registry is at this version still.
    pub if_version: Option<u64>,
    /// Who applies, for the log.
    pub by: String,
}

/// What applying did.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Applied {
    /// The registry's version before.
    pub base: u64,
    /// The registry's version afterwards.
    pub version: u64,
    /// Every object of the definitions, in their order.
    pub changes: Vec<Change>,
}

struct Writer<E: Env> {
    database: Database<E>,
    held: Held,
    /// Generation of the catalogue that the registry was held against last.
    reconciled: Option<u64>,
}

/// A registry that is open.
pub struct Registry<E: Env, V: ViewStore = Handle<E>> {
    env: E,
    views: V,
    writer: Mutex<Writer<E>>,
    published: Arc<ArcSwap<Published>>,
}

impl<E: Env, V: ViewStore> Registry<E, V> {
    /// Opens the registry of a data directory whose store is open; it makes one where there is none.
    /// Definitions whose apply was cut short are completed. Views that the store has and the registry does not,
    /// because they were defined without it, are taken over.
    ///
    /// # Errors
    /// The database is damaged or cannot be reached, or the store takes no definitions.
    pub fn open(env: E, dir: &Path, views: V) -> Result<Self, Error> {
        let (database, held) = Database::open(env.clone(), dir)?;
        let published = Published::new(held.state.clone(), views.catalogue(), &Book::default());
        let published = Arc::new(ArcSwap::from_pointee(published));
        let writer = Mutex::new(Writer { database, held, reconciled: None });
        let registry = Registry { env, views, writer, published };
        let mut writer = registry.lock();
        registry.settle(&mut writer)?;
        registry.reconcile(&mut writer)?;
        registry.publish(&writer);
        drop(writer);
        Ok(registry)
    }

    /// The present version.
    pub fn published(&self) -> Arc<Published> {
        self.published.load_full()
    }

    /// Where the present version is found, for those who look at it often.
    pub(crate) fn place(&self) -> Arc<ArcSwap<Published>> {
        Arc::clone(&self.published)
    }

    /// The present version's number.
    pub fn version(&self) -> u64 {
        self.published.load().state.version()
    }

    /// What definitions would change, and what refuses them.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn plan(&self, definitions: &Definitions) -> Result<Plan, Error> {
        let published = self.published();
        let plan = plan(&published.state, definitions)?;
        check_engine(&self.views.catalogue(), &plan.changed_views())?;
        Ok(plan)
    }

    /// Applies definitions: all or none, durable and in force when it returns. Repeating it changes nothing.
    ///
    /// # Errors
    /// [`Error::Refused`] or [`Error::Conflict`]: nothing was applied. [`Error::InDoubt`]: it is not known.
    pub fn apply(
        &self,
        definitions: &Definitions,
        options: &ApplyOptions,
    ) -> Result<Applied, Error> {
        let mut writer = self.lock();
        self.settle(&mut writer)?;
        self.reconcile(&mut writer)?;
        check_version(&writer.held.state, options.if_version)?;
        let plan = plan(&writer.held.state, definitions)?;
        if plan.is_empty() {
            self.publish(&writer);
            return Ok(Applied { base: plan.base, version: plan.base, changes: plan.changes });
        }
        check_engine(&self.views.catalogue(), &plan.changed_views())?;
        let lines = plan.changes.iter().filter(|one| one.action != ChangeAction::Unchanged);
        let lines = lines.map(|change| format!("{:?} {}", change.action, change.object)).collect();
        let entry = LogEntry { at_us: self.env.now_us(), by: options.by.clone(), lines };
        let objects = plan.changed().map(|object| Object::clone(object)).collect();
        let intent = Intent { version: plan.version(), objects, entry };
        if plan.changed_views().is_empty() {
            self.finish(&mut writer, intent)?;
        } else {
            let write = Write { intent: Some(Some(&intent)), ..Write::default() };
            let Writer { database, held, .. } = &mut *writer;
            database.write(held, &write).map_err(in_doubt)?;
            held.intent = Some(intent);
            self.settle(&mut writer)?;
        }
        Ok(Applied { base: plan.base, version: plan.version(), changes: plan.changes })
    }

    /// Makes a bare name of a feature view mean another version, for reads and writes alike, at once and
    /// whole; [`Registry::switch_back`] undoes it. A staged version becomes active.
    ///
    /// # Errors
    /// There is no such version, it is retired, or a reader of the bare name needs what it lacks.
    pub fn switch(&self, view: &Name, options: &ApplyOptions) -> Result<u64, Error> {
        let Some(version) = view.version else {
            let what = format!("{view} names no version: write {view}@2 to switch to that");
            return Err(Error::Invalid(what));
        };
        let bare = Name { version: None, ..view.clone() };
        self.change_switch(options, |state| {
            let target = state.find(&[Kind::View], view, None)?;
            let home = Some(target.id.project.as_str());
            let now = state.find(&[Kind::View], &bare, home)?.id.version;
            Ok((target.id.clone(), now, version))
        })
    }

    /// Makes the bare name of a feature view mean the version again that it meant before it was switched.
    ///
    /// # Errors
    /// It was not switched, or a reader needs what that version lacks.
    pub fn switch_back(&self, view: &Name, options: &ApplyOptions) -> Result<u64, Error> {
        let bare = Name { version: None, ..view.clone() };
        self.change_switch(options, |state| {
            let now = state.find(&[Kind::View], &bare, None)?;
            let switch = state.switch(&now.id.project, &now.id.name).ok_or_else(|| {
                Error::Invalid(format!("{bare} was not switched: there is nothing to go back to"))
            })?;
            let id = ObjectId { version: switch.before, ..now.id.clone() };
            Ok((id, switch.version, switch.before))
        })
    }

    fn change_switch(
        &self,
        options: &ApplyOptions,
        choose: impl FnOnce(&State) -> Result<(ObjectId, u32, u32), Error>,
    ) -> Result<u64, Error> {
        let mut writer = self.lock();
        self.settle(&mut writer)?;
        check_version(&writer.held.state, options.if_version)?;
        let state = &writer.held.state;
        let (id, before, version) = choose(state)?;
        if before == version && state.switch(&id.project, &id.name).is_some() {
            return Ok(state.version);
        }
        let mut next = state.clone();
        let key = (id.project.clone(), id.name.clone());
        next.switches.insert(key.clone(), Switch { version, before });
        let target = next.objects.get(&id).ok_or_else(|| Error::NotFound(format!("no {id}")))?;
        let mut object = Object::clone(target);
        if object.about.lifecycle == Lifecycle::Staged {
            object.about.lifecycle = Lifecycle::Active;
        }
        next.objects.insert(id.clone(), Arc::new(object.clone()));
        next.version += 1;
        let refusals = check(&next);
        if !refusals.is_empty() {
            return Err(Error::Refused(refusals));
        }
        let lines = vec![format!("switched {}/{} from @{before} to @{version}", key.0, key.1)];
        let entry = LogEntry { at_us: self.env.now_us(), by: options.by.clone(), lines };
        let switch = Switch { version, before };
        let write = Write {
            version: Some((next.version, &entry)),
            objects: vec![&object],
            switches: vec![(&key, &switch)],
            ..Write::default()
        };
        let Writer { database, held, .. } = &mut *writer;
        database.write(held, &write).map_err(in_doubt)?;
        held.note(next, entry);
        self.publish(&writer);
        Ok(writer.held.state.version)
    }

    /// The registry as the bytes of a file, and what `take` takes of the store while nothing is applied: so the two are
    /// of one version. What is loaded may be ahead of its watermark in the bytes, never behind.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn copy_with<T>(&self, take: impl FnOnce() -> T) -> Result<(Vec<u8>, T), Error> {
        let writer = self.lock();
        let bytes = writer.database.image(&writer.held)?;
        Ok((bytes, take()))
    }

    /// The newest changes, newest first.
    pub fn log(&self, most: usize) -> Vec<(u64, LogEntry)> {
        let writer = self.lock();
        let newest = writer.held.log.iter().rev().take(most);
        newest.map(|(version, entry)| (*version, entry.clone())).collect()
    }

    /// How far something has been loaded; 0 if it never was.
    pub fn watermark(&self, key: &str) -> u64 {
        self.lock().held.watermarks.get(key).copied().unwrap_or(0)
    }

    /// Remembers how far something has been loaded; durable when it returns.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn set_watermark(&self, key: &str, at: u64) -> Result<(), Error> {
        self.set_watermarks(&[(key.to_owned(), at)])
    }

    /// The same of several, in one transaction; none does nothing.
    ///
    /// # Errors
    /// As [`Registry::set_watermark`].
    pub fn set_watermarks(&self, marks: &[(String, u64)]) -> Result<(), Error> {
        if marks.is_empty() {
            return Ok(());
        }
        let mut writer = self.lock();
        let watermarks = marks.iter().map(|(key, at)| (key.as_str(), *at)).collect();
        let write = Write { watermarks, ..Write::default() };
        let Writer { database, held, .. } = &mut *writer;
        database.write(held, &write)?;
        held.watermarks.extend(marks.iter().cloned());
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Writer<E>> {
        // What is held is changed whole, after it is written.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, writer: &Writer<E>) {
        let (state, catalogue) = (writer.held.state.clone(), self.views.catalogue());
        let before = self.published.load();
        self.published.store(Arc::new(Published::new(state, catalogue, &before.rules)));
    }

    /// Completes what was begun.
    fn settle(&self, writer: &mut Writer<E>) -> Result<(), Error> {
        let Some(intent) = writer.held.intent.clone() else { return Ok(()) };
        let views: Vec<FeatureView> =
            intent.objects.iter().filter_map(|object| object.as_view().cloned()).collect();
        match self.views.define(&views) {
            Ok(()) => self.finish(writer, intent),
            // Not by anything that is in the registry: somebody defined a view beside it meanwhile.
            Err(
                error @ (thermae_engine::Error::Invalid(_)
                | thermae_engine::Error::Incompatible { .. }),
            ) => {
                let write = Write { intent: Some(None), ..Write::default() };
                let Writer { database, held, .. } = writer;
                database.write(held, &write)?;
                held.intent = None;
                Err(error.into())
            }
            Err(error) => Err(in_doubt(error)),
        }
    }

    /// Writes what the engine has, or what it need not have, and publishes it.
    fn finish(&self, writer: &mut Writer<E>, intent: Intent) -> Result<(), Error> {
        let Writer { database, held, .. } = &mut *writer;
        let write = Write {
            version: Some((intent.version, &intent.entry)),
            objects: intent.objects.iter().collect(),
            intent: Some(None),
            ..Write::default()
        };
        database.write(held, &write).map_err(in_doubt)?;
        let mut next = held.state.clone();
        next.version = intent.version;
        let objects = intent.objects.into_iter();
        next.objects.extend(objects.map(|object| (object.id.clone(), Arc::new(object))));
        held.intent = None;
        held.note(next, intent.entry);
        self.publish(writer);
        Ok(())
    }

    /// Takes over what the store has and the registry does not, and gives the store what it lacks: after views
    /// were defined beside the registry, or one of the two came from a backup.
    fn reconcile(&self, writer: &mut Writer<E>) -> Result<(), Error> {
        let catalogue = self.views.catalogue();
        if writer.reconciled == Some(catalogue.generation()) {
            return Ok(());
        }
        let state = &writer.held.state;
        let is_missing = |view: &&FeatureView| {
            catalogue.view_at(&view.project, &view.name, view.version).is_none()
        };
        let missing: Vec<FeatureView> = state.views().filter(is_missing).cloned().collect();
        if !missing.is_empty() {
            self.views.define(&missing)?;
        }
        let mut objects = Vec::new();
        for view in catalogue.views() {
            let defined = &view.latest.definition;
            let id = ObjectId::new(Kind::View, &defined.project, &defined.name, defined.version);
            let known = state.object(&id);
            if known.and_then(|object| object.as_view()) == Some(defined) {
                continue;
            }
            let about = known.map_or_else(About::default, |object| object.about.clone());
            let source = known.and_then(|object| object.source().cloned());
            let rules = known.and_then(|object| object.rules().cloned()).unwrap_or_default();
            objects.push(Object::of_view(defined.clone(), source, about).with_rules(rules));
        }
        writer.reconciled = Some(catalogue.generation());
        if objects.is_empty() {
            return Ok(());
        }
        let lines = objects.iter().map(|object| format!("Taken over {}", object.id)).collect();
        let entry = LogEntry { at_us: self.env.now_us(), by: String::new(), lines };
        let intent = Intent { version: state.version + 1, objects, entry };
        self.finish(writer, intent)
    }
}

impl Held {
    fn note(&mut self, next: State, entry: LogEntry) {
        self.log.insert(next.version, entry);
        while self.log.len() > LOG_ENTRIES_MAX {
            self.log.pop_first();
        }
        self.state = next;
    }
}

fn in_doubt(error: impl std::fmt::Display) -> Error {
    Error::InDoubt(error.to_string())
}

fn check_version(state: &State, expected: Option<u64>) -> Result<(), Error> {
    match expected {
        Some(expected) if expected != state.version() => {
            Err(Error::Conflict { expected, found: state.version() })
        }
        _ => Ok(()),
    }
}

/// Whether the engine would take views: it may know more of them than the registry does.
fn check_engine(catalogue: &Catalogue, views: &[FeatureView]) -> Result<(), Error> {
    let refused = |error: thermae_engine::Error| {
        let of = "the store's catalogue";
        Error::Refused(vec![match error {
            thermae_engine::Error::Incompatible { .. } => {
                Refusal::incompatible(of, error.to_string())
            }
            error => Refusal::wrong(of, error.to_string()),
        }])
    };
    catalogue.plan(views).map(|_| ()).map_err(refused)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::PathBuf;

    use thermae_env::SimEnv;

    use super::*;

    /// A store without views.
    struct None;

    impl ViewStore for None {
        fn catalogue(&self) -> Arc<Catalogue> {
            Arc::default()
        }

        fn define(&self, _: &[FeatureView]) -> Result<(), thermae_engine::Error> {
            Ok(())
        }
    }

    #[test]
    fn nothing_is_applied_while_the_store_is_copied_beside_the_registry() {
        let (env, dir, copy) = (SimEnv::new(1), PathBuf::from("/data"), PathBuf::from("/copy"));
        env.create_dir_all(&dir).unwrap();
        env.create_dir_all(&copy).unwrap();
        let registry = Registry::open(env.clone(), &dir, None).unwrap();
        let (image, is_held) = registry.copy_with(|| registry.writer.try_lock().is_err()).unwrap();
        assert!(is_held, "an apply could lie between the two");
        // The image is a registry's file.
        env.set_file_bytes(&copy.join("registry.redb"), &image).unwrap();
        assert_eq!(Registry::open(env, &copy, None).unwrap().version(), 0);
    }
}
