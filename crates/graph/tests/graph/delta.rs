//! Delta against the simulator: rounds that tell everything once begun, page by page.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_core::ObjectId;
use lockstep_core::profile::{Invitation, UserType};
use lockstep_graph::{
    DELTA_ACCESS, DELTA_GROUPS, DELTA_PROFILE, DeltaLink, DeltaNext, DeltaPage, GraphClient, GroupRow, MemberChange,
    ObjectKind, PageLink, Removed, UserRow,
};
use lockstep_simulator::{NewGroup, NewUser};
use serde_json::json;

use crate::stand::Stand;

/// The link that a round ends with.
fn end<Row>(page: DeltaPage<Row>) -> DeltaLink {
    let DeltaNext::Done(link) = page.next else { panic!("the round is over") };
    assert!(page.rows.is_empty() && page.refused == 0);
    link
}

/// Follows a round to its end, every link through a checkpoint.
async fn round<Row, Page>(graph: &GraphClient, from: &DeltaLink, page: Page) -> (Vec<Row>, usize, DeltaLink)
where
    Page: AsyncFn(PageLink) -> DeltaPage<Row>,
{
    let stored = serde_json::to_string(from).unwrap();
    let text: String = serde_json::from_str(&stored).unwrap();
    let mut link = DeltaLink::load(&text, graph.endpoints()).unwrap().as_page().clone();
    let (mut rows, mut pages) = (Vec::new(), 0);
    loop {
        let told = page(link).await;
        assert_eq!(told.refused, 0);
        rows.extend(told.rows);
        pages += 1;
        match told.next {
            DeltaNext::Next(next) => link = PageLink::load(next.as_str(), graph.endpoints()).unwrap(),
            DeltaNext::Done(done) => return (rows, pages, done),
        }
    }
}

async fn users_since(graph: &GraphClient, from: &DeltaLink) -> (Vec<UserRow>, usize, DeltaLink) {
    round(graph, from, async |link| graph.user_delta_page(&link).await.unwrap()).await
}

async fn groups_since(graph: &GraphClient, from: &DeltaLink) -> (Vec<GroupRow>, usize, DeltaLink) {
    round(graph, from, async |link| graph.group_delta_page(&link).await.unwrap()).await
}

#[tokio::test]
async fn g12_a_round_tells_what_changed_since_the_last_one_and_nothing_else() {
    let stand = Stand::start().await;
    let (ada, grace, _still) = (stand.person("Ada Lovelace"), stand.person("Grace Hopper"), stand.person("Still Here"));
    let latest = end(stand.graph.user_delta_latest(DELTA_ACCESS).await.unwrap());
    assert_eq!(users_since(&stand.graph, &latest).await.0, [], "nothing happened yet");

    stand.tenant.patch_user(ada.0, json!({"accountEnabled": false})).unwrap();
    stand.tenant.delete_user(grace.0, false).unwrap();
    let invited = NewUser::guest("Katherine Johnson", "katherine@home.example");
    let invited = invited.with("externalUserState", "PendingAcceptance");
    let new = ObjectId(stand.tenant.create_user(invited));
    stand.simulator.set_delta_page(1);

    let (rows, pages, next) = users_since(&stand.graph, &latest).await;
    let told: BTreeMap<ObjectId, &UserRow> = rows.iter().map(|row| (row.id, row)).collect();
    assert_eq!(told.keys().copied().collect::<BTreeSet<_>>(), BTreeSet::from([ada, grace, new]));
    assert!(pages >= 3, "one row a page, and yet all of them");
    assert_eq!((told[&ada].removed, told[&ada].account_enabled), (None, Some(Some(false))));
    assert_eq!((told[&grace].removed, told[&grace].account_enabled), (Some(Removed::Changed), None));
    assert_eq!(told[&new].invitation, Some(Some(Invitation::Pending)));
    assert_eq!(
        (told[&new].user_type, told[&ada].invitation),
        (Some(Some(UserType::Guest)), None),
        "never set: not told"
    );

    assert_eq!(users_since(&stand.graph, &next).await.0, [], "told once");
    stand.tenant.delete_user(grace.0, true).unwrap();
    let (rows, ..) = users_since(&stand.graph, &next).await;
    assert!(matches!(&rows[..], [gone] if gone.removed == Some(Removed::Deleted)));
}

#[tokio::test]
async fn t5_a_wide_row_is_a_profile_and_a_narrow_one_is_not() {
    let stand = Stand::start().await;
    let ada = stand.person("Ada Lovelace");
    let narrow = end(stand.graph.user_delta_latest(DELTA_ACCESS).await.unwrap());
    let wide = end(stand.graph.user_delta_latest(&DELTA_PROFILE).await.unwrap());
    // What is not selected is not tracked: the narrow round hears of the switch only.
    stand.tenant.patch_user(ada.0, json!({"department": "Analysis", "accountEnabled": false})).unwrap();

    let (rows, ..) = users_since(&stand.graph, &narrow).await;
    let [row] = &rows[..] else { panic!("one row") };
    assert!(row.properties().get("department").is_none());
    assert_eq!(row.clone().into_profile(), None, "it would blank every other field");

    let (rows, ..) = users_since(&stand.graph, &wide).await;
    let profile = rows.into_iter().next().and_then(UserRow::into_profile).expect("a whole row");
    assert_eq!((profile.id, profile.account_enabled, profile.text("department")), (ada, Some(false), Some("Analysis")));
}

#[tokio::test]
async fn members_that_come_and_go_are_told_with_their_kind() {
    let stand = Stand::start().await;
    let (ada, grace) = (stand.person("Ada Lovelace"), stand.person("Grace Hopper"));
    let (staff, inner) =
        (stand.tenant.create_group(NewGroup::named("Staff")), stand.tenant.create_group(NewGroup::named("Inner")));
    stand.tenant.add_member(staff, ada.0).unwrap();
    let latest = end(stand.graph.group_delta_latest(DELTA_GROUPS).await.unwrap());

    stand.tenant.remove_member(staff, ada.0).unwrap();
    stand.tenant.add_member(staff, grace.0).unwrap();
    stand.tenant.add_member(staff, inner).unwrap();
    let (rows, _, next) = groups_since(&stand.graph, &latest).await;
    let members: BTreeMap<ObjectId, MemberChange> = rows
        .iter()
        .filter(|row| row.id.0 == staff)
        .flat_map(|row| &row.members)
        .map(|change| (change.id, *change))
        .collect();
    assert_eq!(members.len(), 3);
    assert!(members[&ada].removed && !members[&grace].removed);
    assert_eq!(members[&grace].kind, Some(ObjectKind::User));
    assert_eq!(members[&ObjectId(inner)].kind, Some(ObjectKind::Group));

    stand.tenant.delete_group(staff, false).unwrap();
    let (rows, ..) = groups_since(&stand.graph, &next).await;
    assert!(rows.iter().any(|row| row.id.0 == staff && row.removed.is_some()));
}

#[tokio::test]
async fn a_group_too_large_for_a_page_is_told_in_slices_that_add_up() {
    let stand = Stand::start().await;
    let latest = end(stand.graph.group_delta_latest(DELTA_GROUPS).await.unwrap());
    let staff = stand.tenant.create_group(NewGroup::named("Staff"));
    let people: BTreeSet<ObjectId> = (0..25).map(|number| stand.person(&format!("Person {number}"))).collect();
    for person in &people {
        stand.tenant.add_member(staff, person.0).unwrap();
    }
    stand.simulator.set_delta_page(4);

    let (rows, pages, _) = groups_since(&stand.graph, &latest).await;
    let slices: Vec<&GroupRow> = rows.iter().filter(|row| row.id.0 == staff).collect();
    assert!(slices.len() > 1 && pages > 1, "{} slices on {pages} pages", slices.len());
    let told: BTreeSet<ObjectId> = slices.iter().flat_map(|row| &row.members).map(|change| change.id).collect();
    assert_eq!(told, people);
}
