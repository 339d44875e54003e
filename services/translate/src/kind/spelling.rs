//! Kinds as people write them: `pod`, `pods`, `po`, `Pod`, `ingress.networking.k8s.io`.

use crate::{Context, Kind};

/// Which kind a text means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spelled {
    /// This one.
    One(Kind),
    /// Several custom kinds; with its group it would name one.
    Several(Vec<Kind>),
    /// None that is known.
    Unknown,
}

/// Which of the kinds that are synced for a virtual cluster a text means: a kind, its collection or a short name of
/// it, in whatever case, alone or with `.GROUP` or `.VERSION.GROUP`. A kind of the table wins over a custom one that
/// is called the same.
pub fn spelled(text: &str, context: &Context) -> Spelled {
    let text = text.to_ascii_lowercase();
    let (name, group) = match text.split_once('.') {
        Some((name, group)) => (name, Some(group)),
        None => (text.as_str(), None),
    };
    let means = |kind: &Kind| is_called(*kind, name) && group.is_none_or(|of| is_of(*kind, of));
    let mut all: Vec<_> = context.kinds().filter(means).collect();
    if let Some(own) = all.iter().find(|kind| kind.custom().is_none()) {
        return Spelled::One(*own);
    }
    match (all.pop(), all.is_empty()) {
        (Some(one), true) => Spelled::One(one),
        (Some(one), false) => {
            all.push(one);
            Spelled::Several(all)
        }
        (None, _) => Spelled::Unknown,
    }
}

fn is_called(kind: Kind, name: &str) -> bool {
    let api = kind.description().api;
    api.plural == name || api.kind.eq_ignore_ascii_case(name) || api.short.contains(&name)
}

fn is_of(kind: Kind, group: &str) -> bool {
    let api = kind.description().api;
    let rest = group.strip_prefix(api.version);
    let core = api.group.is_empty() && group == api.version;
    core || api.group == group || rest.is_some_and(|rest| rest.strip_prefix('.') == Some(api.group))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::context;

    #[test]
    fn a_kind_is_known_by_every_name_that_kubectl_takes() {
        let context = context();
        for text in ["pod", "pods", "po", "Pod", "PODS", "pods.v1", "pod.v1."] {
            let spelled = spelled(text, &context);
            assert_eq!(spelled, Spelled::One(Kind::Pod), "{text}");
        }
        for text in [
            "ing",
            "ingress",
            "ingresses.networking.k8s.io",
            "Ingress.v1.networking.k8s.io",
        ] {
            let spelled = spelled(text, &context);
            assert_eq!(spelled, Spelled::One(Kind::Ingress), "{text}");
        }
    }

    #[test]
    fn a_short_name_is_one_kinds_only() {
        let all = |kind: Kind| {
            kind.description()
                .api
                .short
                .iter()
                .map(move |short| (*short, kind))
        };
        let shorts: Vec<_> = Kind::all().flat_map(all).collect();
        for (short, kind) in &shorts {
            assert_eq!(spelled(short, &context()), Spelled::One(*kind), "{short}");
        }
        for (short, kind) in [
            ("sc", Kind::StorageClass),
            ("vs", Kind::VolumeSnapshot),
            ("vsclass", Kind::VolumeSnapshotClass),
        ] {
            assert!(shorts.contains(&(short, kind)), "{short}");
        }
        assert_eq!(spelled("sts", &context()), Spelled::Unknown);
    }

    #[test]
    fn every_kind_of_the_table_is_known_by_its_own_name() {
        for kind in Kind::all() {
            let context = context();
            assert_eq!(spelled(kind.as_str(), &context), Spelled::One(kind));
            assert_eq!(spelled(kind.plural(), &context), Spelled::One(kind));
        }
    }

    #[test]
    fn what_is_not_synced_or_of_another_group_is_unknown() {
        let context = context();
        for text in ["deployment", "pods.example.com", "", ".", "ingress.apps"] {
            assert_eq!(spelled(text, &context), Spelled::Unknown, "{text}");
        }
    }
}
