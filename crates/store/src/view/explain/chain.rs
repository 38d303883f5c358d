//! By which groups in groups a person is in a mapped group (M10).

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use lockstep_core::ObjectId;
use lockstep_core::mirror::Edge;

/// Which groups stand directly in which.
pub(in crate::view) type Children = BTreeMap<ObjectId, BTreeSet<ObjectId>>;

/// Every group inside a mapped one, with the shortest chain of names that leads there. Groups may stand in each other in a
/// circle.
pub(in crate::view) fn inside(
    mapped: ObjectId,
    children: &Children,
    names: &BTreeMap<ObjectId, String>,
) -> Vec<Vec<String>> {
    let mut came_from: BTreeMap<ObjectId, Option<ObjectId>> = BTreeMap::from([(mapped, None)]);
    let mut waiting = VecDeque::from([mapped]);
    let mut chains = Vec::new();
    while let Some(group) = waiting.pop_front() {
        for child in children.get(&group).into_iter().flatten().copied() {
            if let Entry::Vacant(place) = came_from.entry(child) {
                place.insert(Some(group));
                waiting.push_back(child);
                let way = way_to(child, &came_from).into_iter().skip(1);
                let name = |group: ObjectId| names.get(&group).cloned().unwrap_or_else(|| group.to_string());
                chains.push(way.map(name).collect());
            }
        }
    }
    chains
}

/// The shortest way from a mapped group down to a group the person is in directly; the mapped group alone when the
/// edges do not tell. Groups may stand in each other in a circle.
pub(super) fn chain(mapped: ObjectId, edges: &BTreeMap<ObjectId, Edge>, children: &Children) -> Vec<ObjectId> {
    let mut came_from: BTreeMap<ObjectId, Option<ObjectId>> = BTreeMap::from([(mapped, None)]);
    let mut waiting = VecDeque::from([mapped]);
    let mut probable = None;
    while let Some(group) = waiting.pop_front() {
        if edges.get(&group).is_some_and(|edge| edge.present && edge.direct == Some(true)) {
            return way_to(group, &came_from);
        }
        let inner = children.get(&group).into_iter().flatten().copied();
        let inner: Vec<ObjectId> = inner.filter(|group| edges.get(group).is_none_or(|edge| edge.present)).collect();
        if probable.is_none() && edges.contains_key(&group) && !inner.iter().any(|group| edges.contains_key(group)) {
            probable = Some(group);
        }
        for child in inner {
            if let Entry::Vacant(place) = came_from.entry(child) {
                place.insert(Some(group));
                waiting.push_back(child);
            }
        }
    }
    // No read told direct from nested: whoever is in a group and in none of the groups inside it is in it directly.
    way_to(probable.unwrap_or(mapped), &came_from)
}

fn way_to(group: ObjectId, came_from: &BTreeMap<ObjectId, Option<ObjectId>>) -> Vec<ObjectId> {
    let mut way: Vec<ObjectId> =
        std::iter::successors(Some(group), |group| came_from.get(group).copied().flatten()).collect();
    way.reverse();
    way
}

#[cfg(test)]
mod tests {
    use lockstep_core::Ticket;
    use uuid::Uuid;

    use super::*;

    const ALL: u128 = 1;
    const TEAM: u128 = 2;
    const CREW: u128 = 3;

    fn group(number: u128) -> ObjectId {
        ObjectId(Uuid::from_u128(number))
    }

    fn explained(edges: &[(u128, Option<bool>, bool)], nesting: &[(u128, u128)]) -> Vec<u128> {
        let edge = |&(id, direct, present): &(u128, Option<bool>, bool)| {
            (group(id), Edge { ticket: Ticket(1), direct, present })
        };
        let mut children = Children::new();
        for &(parent, child) in nesting {
            children.entry(group(parent)).or_default().insert(group(child));
        }
        let way = chain(group(ALL), &edges.iter().map(edge).collect(), &children);
        way.into_iter().map(|id| id.0.as_u128()).collect()
    }

    const NESTING: [(u128, u128); 4] = [(ALL, TEAM), (TEAM, CREW), (CREW, ALL), (ALL, 9)];

    #[test]
    fn a_direct_member_has_a_chain_of_one() {
        assert_eq!(explained(&[(ALL, Some(true), true), (TEAM, None, true)], &NESTING), [ALL]);
    }

    #[test]
    fn a_nested_member_has_the_way_down_to_the_group_they_stand_in_even_in_a_circle() {
        let edges = [(ALL, Some(false), true), (TEAM, Some(false), true), (CREW, Some(true), true)];
        assert_eq!(explained(&edges, &NESTING), [ALL, TEAM, CREW]);
    }

    #[test]
    fn where_no_read_told_direct_from_nested_the_innermost_group_is_taken() {
        let edges = [(ALL, None, true), (TEAM, None, true), (CREW, None, false)];
        assert_eq!(explained(&edges, &NESTING), [ALL, TEAM]);
    }

    #[test]
    fn the_groups_inside_are_shown_once_each_with_their_chain_even_in_a_circle() {
        let mut children = Children::new();
        for (parent, child) in NESTING {
            children.entry(group(parent)).or_default().insert(group(child));
        }
        let names = BTreeMap::from([(group(TEAM), "Team".to_owned()), (group(CREW), "Crew".to_owned())]);
        let ninth = group(9).to_string();
        assert_eq!(inside(group(ALL), &children, &names), [vec!["Team"], vec![ninth.as_str()], vec!["Team", "Crew"]]);
    }

    #[test]
    fn without_edges_between_groups_the_mapped_group_stands_alone() {
        assert_eq!(explained(&[(ALL, None, true)], &[]), [ALL]);
    }
}
