//! Feature references as Feast writes them, as a request to the feature store.

use std::collections::HashMap;

use thermae_features::model::{Name, Pick};
use thermae_features::store::{Ask, OnlineColumn};

use super::super::reply::Failure;
use crate::serve::limits::Limits;

/// A request for features, and the order that its answer is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Asked {
    pub ask: Ask,
    /// For each reference, the column of the answer that holds it; none: as they come.
    order: Option<Vec<usize>>,
}

impl Asked {
    /// The features of a service, or those that are named, each `view:feature`. Those of one view are read
    /// together, wherever they stand: of one row.
    ///
    /// # Errors
    /// Neither or both are given, a reference is none, or is there twice.
    pub fn new(
        service: Option<&str>,
        references: &[String],
        full_names: bool,
        limits: &Limits,
    ) -> Result<Self, Failure> {
        let (ask, order) = match (service, references) {
            (Some(service), []) => (Ask::service(service), None),
            (None, []) => {
                return Err(Failure::invalid(
                    "no features are asked for: name them in \"features\", or a \"feature_service\"",
                ));
            }
            (Some(_), _) => {
                return Err(Failure::invalid(
                    "give \"features\" or a \"feature_service\", not both",
                ));
            }
            (None, references) => {
                let (picks, order) = picked(references, limits)?;
                (Ask::picks(picks), Some(order))
            }
        };
        let ask = if full_names { ask.with_full_names() } else { ask };
        Ok(Self { ask, order })
    }

    /// Columns of the answer in the order of the references.
    pub fn in_order(&self, columns: Vec<OnlineColumn>) -> Vec<OnlineColumn> {
        let Some(order) = &self.order else { return columns };
        let mut columns: Vec<Option<OnlineColumn>> = columns.into_iter().map(Some).collect();
        // Each is named once: references that are there twice were refused.
        order.iter().filter_map(|at| columns.get_mut(*at)?.take()).collect()
    }
}

/// One pick a view, and for each reference its column in their answer.
fn picked(references: &[String], limits: &Limits) -> Result<(Vec<Pick>, Vec<usize>), Failure> {
    let most = limits.features_per_plan as usize;
    if references.len() > most {
        let what = format!("{} features are asked for, the limit is {most}", references.len());
        return Err(Failure::invalid(what));
    }
    let mut picks: Vec<Pick> = Vec::new();
    let mut known: HashMap<(Name, Option<String>), usize> = HashMap::new();
    let mut places = Vec::with_capacity(references.len());
    for (at, reference) in references.iter().enumerate() {
        let wrong = |why: String| Failure::invalid(format!("features[{at}]: {why}"));
        let mut pick: Pick = reference.parse().map_err(wrong)?;
        let [feature] = pick.features.as_slice() else {
            return Err(wrong(format!("{reference:?} is no reference: write \"view:feature\"")));
        };
        let key = (pick.view.clone(), pick.alias.clone());
        let Some(&of) = known.get(&key) else {
            known.insert(key, picks.len());
            places.push((picks.len(), 0));
            picks.push(pick);
            continue;
        };
        let Some(there) = picks.get_mut(of) else { continue };
        if there.features.contains(feature) {
            return Err(wrong(format!("{reference:?} is there twice")));
        }
        places.push((of, there.features.len()));
        there.features.append(&mut pick.features);
    }
    if picks.len() > limits.views_per_plan as usize {
        let what =
            format!("{} views are read, the limit is {}", picks.len(), limits.views_per_plan);
        return Err(Failure::invalid(what));
    }
    let mut first = 0;
    let mut firsts = Vec::with_capacity(picks.len());
    for pick in &picks {
        firsts.push(first);
        first += pick.features.len();
    }
    let place = |(of, at): (usize, usize)| firsts.get(of).map_or(at, |first| first + at);
    Ok((picks, places.into_iter().map(place).collect()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn asked(references: &[&str]) -> Result<Asked, Failure> {
        let references: Vec<String> = references.iter().map(ToString::to_string).collect();
        Asked::new(None, &references, false, &Limits::default())
    }

    #[test]
    fn features_of_a_view_are_read_together_and_come_in_the_order_asked() {
        let asked = asked(&["a:x", "b:y", "a:z", "a@2:x", "b:x", "n=a:x"]).unwrap();
        let pick = |text: &str| text.parse::<Pick>().unwrap();
        let picks = [pick("a:x,z"), pick("b:y,x"), pick("a@2:x"), pick("n=a:x")];
        assert_eq!(asked.ask, Ask::picks(picks.to_vec()));
        let column = |name: &str| OnlineColumn {
            name: name.to_owned(),
            values: Vec::new(),
            statuses: Vec::new(),
            event_times: Vec::new(),
        };
        let answer = ["ax", "az", "by", "bx", "a2x", "nax"].map(column).to_vec();
        let names: Vec<String> = asked.in_order(answer).into_iter().map(|c| c.name).collect();
        assert_eq!(names, ["ax", "by", "az", "a2x", "bx", "nax"]);
    }

    #[test]
    fn what_is_no_reference_is_named_with_its_place() {
        for (references, what) in [
            (&["a:x", "a"][..], "features[1]: \"a\" is no reference"),
            (&["a:x,y"], "features[0]: \"a:x,y\" is no reference"),
            (&["a:x", "b:x", "a:x"], "features[2]: \"a:x\" is there twice"),
            (&["a b:x"], "features[0]"),
            (&[], "no features are asked for"),
        ] {
            let failure = asked(references).unwrap_err();
            assert!(failure.message.contains(what), "{failure:?}");
        }
        let views: Vec<String> = (0..65).map(|view| format!("v{view}:x")).collect();
        let failure = Asked::new(None, &views, false, &Limits::default()).unwrap_err();
        assert!(failure.message.contains("65 views are read, the limit is 64"), "{failure:?}");
        assert!(Asked::new(Some("s"), &views, false, &Limits::default()).is_err());
    }
}
