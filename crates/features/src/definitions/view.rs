//! Feature views of a file.

use std::ops::Range;

use thermae_formats::time::parse_duration_us;
use thermae_formats::{FeatureView, History, JoinKey, TierPolicy, Value};
use toml::Spanned;

use super::file::{self, SourceRef};
use super::read::{DefinitionError, Reader};
use crate::model::{About, Object, QUARANTINE_FOR_US, Rules};
use crate::rules;

impl Reader<'_> {
    pub(super) fn view(
        &self,
        key: &Spanned<String>,
        view: &file::View,
    ) -> Result<Object, DefinitionError> {
        let features =
            view.features.iter().map(|f| self.feature(f)).collect::<Result<Vec<_>, _>>()?;
        let (name, version) = self.name(key, view.version)?;
        let (hint, source) = match &view.source {
            SourceRef::Inline(hint) => (hint.clone(), None),
            SourceRef::Named(source) => {
                let declared = self.parsed.sources.iter().find(|(key, _)| key.get_ref() == source);
                let Some((_, table)) = declared else {
                    let problem = format!(
                        "the source {source:?} is not declared: add [sources.{source}], or write it as a table"
                    );
                    return Err(self.wrong(key.span(), problem));
                };
                (table.object().hint, Some(source.clone()))
            }
        };
        hint.check().map_err(|problem| {
            self.wrong(key.span(), format!("the source of {name}: {problem}"))
        })?;
        let about = view.about(self.parsed);
        let About { description, owner, tags, .. } = about.clone();
        let defined = FeatureView {
            version,
            entities: view.entities.iter().map(|e| e.get_ref().clone()).collect(),
            ttl_us: self.duration(&view.ttl)?,
            tiers: self.tiers(&view.tiers)?,
            owner,
            tags,
            description,
            source: hint.to_source(),
            ..FeatureView::new(
                self.parsed.project.get_ref().clone(),
                name,
                self.join_keys(view)?,
                features,
            )
        };
        let rules = self.rules(view)?;
        let object = Object::of_view(defined, source, about).with_rules(rules);
        object
            .validate()
            .and_then(|()| rules::check(&object))
            .map_err(|e| self.wrong(place(key, view, &e), e))?;
        Ok(object)
    }

    fn rules(&self, view: &file::View) -> Result<Rules, DefinitionError> {
        let duration = |text: &Option<Spanned<String>>, unsaid| match text {
            Some(text) => self.duration(text),
            None => Ok(unsaid),
        };
        let computed = view.features.iter().filter_map(|feature| {
            Some((feature.name.get_ref().clone(), feature.expression.clone()?))
        });
        Ok(Rules {
            computed: computed.collect(),
            checks: view.checks.clone(),
            on_failure: view.on_failure,
            quarantine_for_us: duration(&view.quarantine_for, QUARANTINE_FOR_US)?,
            fresh_within_us: duration(&view.fresh_within, 0)?,
        })
    }

    /// The join keys of the view's entities, in their order.
    fn join_keys(&self, view: &file::View) -> Result<Vec<JoinKey>, DefinitionError> {
        let mut keys: Vec<JoinKey> = Vec::new();
        for entity in &view.entities {
            let Some((_, declared)) =
                self.parsed.entities.iter().find(|(key, _)| key.get_ref() == entity.get_ref())
            else {
                let there: Vec<&str> =
                    self.parsed.entities.keys().map(|key| key.get_ref().as_str()).collect();
                let problem = format!(
                    "the entity {:?} is not declared: add [entities.{}]; declared are: {}",
                    entity.get_ref(),
                    entity.get_ref(),
                    if there.is_empty() { "none".to_owned() } else { there.join(", ") }
                );
                return Err(self.wrong(entity.span(), problem));
            };
            for key in &declared.join_keys {
                // Two entities may share a key; a key of two types cannot be.
                match keys.iter().find(|k| k.name == key.name) {
                    None => keys.push(JoinKey::new(key.name.clone(), key.key_type)),
                    Some(there) if there.key_type == key.key_type => {}
                    Some(there) => {
                        let (one, two) = (there.key_type, key.key_type);
                        let problem = format!("the join key {:?} is {one} and {two}", key.name);
                        return Err(self.wrong(entity.span(), problem));
                    }
                }
            }
        }
        Ok(keys)
    }

    fn feature(
        &self,
        feature: &file::Feature,
    ) -> Result<thermae_formats::Feature, DefinitionError> {
        let name = feature.name.get_ref().clone();
        let mut made = thermae_formats::Feature::new(name, feature.value_type.clone());
        made.description.clone_from(&feature.description);
        made.tags.clone_from(&feature.tags);
        if let Some(loose) = &feature.default {
            let value = Value::from_loose(&feature.value_type, loose).map_err(|e| {
                self.wrong(
                    feature.name.span(),
                    format!("default of feature {:?}: {e}", feature.name.get_ref()),
                )
            })?;
            made = made.with_default(value);
        }
        Ok(made)
    }

    fn duration(&self, text: &Spanned<String>) -> Result<i64, DefinitionError> {
        parse_duration_us(text.get_ref()).map_err(|problem| self.wrong(text.span(), problem))
    }

    fn tiers(&self, tiers: &file::Tiers) -> Result<TierPolicy, DefinitionError> {
        let or_unlimited = |text: &Option<Spanned<String>>| match text {
            Some(text) => self.duration(text),
            None => Ok(0),
        };
        let history = match &tiers.history {
            None => History::default(),
            Some(text) => match text.get_ref().as_str() {
                "full" => History::Full,
                "latest" => History::Latest,
                other => {
                    let problem = format!("history {other:?} is neither \"full\" nor \"latest\"");
                    return Err(self.wrong(text.span(), problem));
                }
            },
        };
        Ok(TierPolicy {
            hot_for_us: or_unlimited(&tiers.hot_for)?,
            warm_for_us: or_unlimited(&tiers.warm_for)?,
            keep_for_us: or_unlimited(&tiers.keep_for)?,
            history,
            serve_from_cold: tiers.serve_from_cold,
        })
    }
}

/// Where a view's problem is: at the last feature that the message quotes, or at the view's name.
fn place(key: &Spanned<String>, view: &file::View, problem: &str) -> Range<usize> {
    let quoted = |f: &&file::Feature| problem.contains(&format!("{:?}", f.name.get_ref()));
    view.features.iter().rev().find(quoted).map_or_else(|| key.span(), |f| f.name.span())
}
