//! Which changes of a definition old rows can be read through.

use crate::error::SchemaError;
use crate::schema::{Feature, FeatureView};
use crate::time::format_duration_us;

/// What a new definition changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change {
    /// Nothing.
    None,
    /// Policies or metadata: the rows' layout stays, and so does their schema id.
    Policy,
    /// Features were added, widened or reordered: new rows need a new schema id, old ones stay readable.
    Compatible,
}

impl FeatureView {
    /// What this definition changes of `old`, which is of the same project, name and version.
    ///
    /// Compatible is: adding a feature (old rows read its default, or null), widening int32 to int64 or
    /// float32 to float64, and another order of features. Join keys, and the type or default of a feature that
    /// exists, cannot change; nor can a feature go. The error names the feature and the reason.
    pub fn change_from(&self, old: &Self) -> Result<Change, SchemaError> {
        self.check_same_view(old)?;
        self.check_join_keys(old)?;
        let mut layout_changed = self.features.len() != old.features.len();
        for (position, before) in old.features.iter().enumerate() {
            let Some(now) = self.feature(&before.name) else {
                return Err(self.incompatible(format!("feature {:?} is removed", before.name)));
            };
            self.check_feature(before, now)?;
            layout_changed |= before.value_type != now.value_type;
            layout_changed |= self.features.get(position).map(|f| &f.name) != Some(&before.name);
        }
        Ok(match (layout_changed, self == old) {
            (true, _) => Change::Compatible,
            (false, false) => Change::Policy,
            (false, true) => Change::None,
        })
    }

    fn check_same_view(&self, old: &Self) -> Result<(), SchemaError> {
        let id = |v: &Self| format!("{}/{} version {}", v.project, v.name, v.version);
        if (&self.project, &self.name, self.version) == (&old.project, &old.name, old.version) {
            return Ok(());
        }
        Err(self.incompatible(format!("{} is another view than {}", id(self), id(old))))
    }

    fn check_join_keys(&self, old: &Self) -> Result<(), SchemaError> {
        if self.join_keys == old.join_keys {
            return Ok(());
        }
        let list = |view: &Self| {
            let named = view.join_keys.iter().map(|k| format!("{} {}", k.name, k.key_type));
            named.collect::<Vec<_>>().join(", ")
        };
        let (before, now) = (list(old), list(self));
        Err(self.incompatible(format!("join keys change from ({before}) to ({now})")))
    }

    fn check_feature(&self, before: &Feature, now: &Feature) -> Result<(), SchemaError> {
        let name = &now.name;
        let (was, is) = (&before.value_type, &now.value_type);
        if was != is && !was.widens_to(is) {
            return Err(self.incompatible(format!(
                "feature {name:?} changes from {was} to {is}; only int32 to int64 and float32 to float64 widen"
            )));
        }
        let (default_was, default_is) =
            (before.default_value().widened_to(is), now.default_value());
        if default_was != default_is {
            return Err(self.incompatible(format!(
                "default of feature {name:?} changes from {default_was} to {default_is}, which rows stored \
                 without it would answer for"
            )));
        }
        Ok(())
    }

    fn incompatible(&self, what: String) -> SchemaError {
        SchemaError::Incompatible { view: self.name.clone(), what }
    }
}

/// The differences that a person wants to see, one line each.
pub fn differences(old: &FeatureView, new: &FeatureView) -> Vec<String> {
    let mut lines = Vec::new();
    for feature in &new.features {
        match old.features.iter().find(|known| known.name == feature.name) {
            None => lines.push(format!("+ feature {} {}", feature.name, feature.value_type)),
            Some(known) if known.value_type != feature.value_type => lines.push(format!(
                "~ feature {} {} -> {}",
                feature.name, known.value_type, feature.value_type
            )),
            Some(known) if known.description != feature.description => {
                lines.push(format!("~ description of feature {}", feature.name));
            }
            Some(known) if known.tags != feature.tags => {
                lines.push(format!("~ tags of feature {}", feature.name));
            }
            Some(_) => {}
        }
    }
    if !new.features.iter().map(|f| &f.name).eq(old.features.iter().map(|f| &f.name))
        && new.features.len() == old.features.len()
    {
        lines.push("~ order of the features".to_owned());
    }
    let mut note = |what: &str, old: String, new: String| {
        if old != new {
            lines.push(format!("~ {what} {old} -> {new}"));
        }
    };
    let limit = |duration_us| match duration_us {
        0 => "unlimited".to_owned(),
        limited => format_duration_us(limited),
    };
    let tags = |view: &FeatureView| {
        let tags: Vec<String> = view.tags.iter().map(|(k, v)| format!("{k}={v}")).collect();
        format!("{:?}", tags.join(" "))
    };
    note("ttl", limit(old.ttl_us), limit(new.ttl_us));
    note("hot_for", limit(old.tiers.hot_for_us), limit(new.tiers.hot_for_us));
    note("warm_for", limit(old.tiers.warm_for_us), limit(new.tiers.warm_for_us));
    note("keep_for", limit(old.tiers.keep_for_us), limit(new.tiers.keep_for_us));
    note("history", old.tiers.history.name().to_owned(), new.tiers.history.name().to_owned());
    let opts_in = |view: &FeatureView| view.tiers.serve_from_cold.to_string();
    note("serve_from_cold", opts_in(old), opts_in(new));
    note("entities", old.entities.join(", "), new.entities.join(", "));
    note("source", old.source.clone(), new.source.clone());
    note("owner", format!("{:?}", old.owner), format!("{:?}", new.owner));
    note("description", format!("{:?}", old.description), format!("{:?}", new.description));
    note("tags", tags(old), tags(new));
    lines
}
