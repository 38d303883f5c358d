//! What the broker delivered to this process: what waits here, what is leased to whom, and what the broker may be told.
//! Only in memory: when the channel is lost, so is all of this, and the messages come again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::Instant;
use uuid::Uuid;

/// The broker's number for a delivery, counted by channel.
type Delivery = u64;

/// Tells the broker that it may forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ack {
    pub(super) delivery: Delivery,
    /// And everything before it on this channel.
    pub(super) all_before: bool,
}

/// Deliveries of one channel, and their messages by tag. Tags go on rising from channel to channel.
pub(super) struct Inbox {
    next_tag: i64,
    messages: BTreeMap<i64, Message>,
    waiting: BTreeSet<i64>,
    leased_until: BTreeMap<i64, Instant>,
    /// Messages of each delivery that are not settled; the first one is the low-water mark.
    open: BTreeMap<Delivery, usize>,
    acks: Option<mpsc::UnboundedSender<Ack>>,
}

struct Message {
    delivery: Delivery,
    body: Arc<[u8]>,
}

impl Default for Inbox {
    fn default() -> Self {
        // Two processes never give out the same tags, so that a late acknowledgement harms nobody.
        let somewhere = i64::from(u32::from_be_bytes(first_four(Uuid::new_v4()))) << 30;
        Self {
            next_tag: somewhere + 1,
            messages: BTreeMap::new(),
            waiting: BTreeSet::new(),
            leased_until: BTreeMap::new(),
            open: BTreeMap::new(),
            acks: None,
        }
    }
}

fn first_four(id: Uuid) -> [u8; 4] {
    let [a, b, c, d, ..] = id.into_bytes();
    [a, b, c, d]
}

impl Inbox {
    /// A new channel: everything of the one before comes again.
    pub(super) fn restart(&mut self, acks: mpsc::UnboundedSender<Ack>) {
        self.forget();
        self.acks = Some(acks);
    }

    /// The channel is gone.
    pub(super) fn forget(&mut self) {
        self.messages.clear();
        self.waiting.clear();
        self.leased_until.clear();
        self.open.clear();
        self.acks = None;
    }

    /// A delivery with its messages.
    pub(super) fn arrive(&mut self, delivery: Delivery, bodies: Vec<Vec<u8>>) {
        self.open.insert(delivery, bodies.len());
        for body in bodies {
            let tag = self.next_tag;
            self.next_tag += 1;
            self.messages.insert(tag, Message { delivery, body: body.into() });
            self.waiting.insert(tag);
        }
    }

    pub(super) fn anything_waits(&mut self, now: Instant) -> bool {
        self.expire(now);
        !self.waiting.is_empty()
    }

    /// Leases up to `max`, oldest first, and no more than fit into `bytes` unless it is one alone.
    pub(super) fn take(&mut self, max: usize, bytes: usize, now: Instant, until: Instant) -> Vec<(i64, Arc<[u8]>)> {
        self.expire(now);
        let (mut taken, mut size) = (Vec::new(), 0);
        while taken.len() < max && size < bytes {
            let Some(tag) = self.waiting.pop_first() else {
                break;
            };
            if let Some(message) = self.messages.get(&tag) {
                self.leased_until.insert(tag, until);
                size += message.body.len();
                taken.push((tag, message.body.clone()));
            }
        }
        taken
    }

    /// Settles messages and tells the broker, under one lock: acknowledgements must go out in the order of the marks.
    pub(super) fn settle(&mut self, tags: &[i64]) {
        for ack in self.settled(tags) {
            if let Some(acks) = &self.acks {
                // The channel is gone: the messages come again.
                let _ = acks.send(ack);
            }
        }
    }

    fn settled(&mut self, tags: &[i64]) -> Vec<Ack> {
        let mut done = BTreeSet::new();
        for tag in tags {
            self.waiting.remove(tag);
            self.leased_until.remove(tag);
            let Some(message) = self.messages.remove(tag) else {
                continue;
            };
            if let Some(left) = self.open.get_mut(&message.delivery) {
                *left -= 1;
                if *left == 0 {
                    done.insert(message.delivery);
                }
            }
        }
        self.acks_for(&done)
    }

    /// One for everything below the lowest open delivery, and one for each above.
    fn acks_for(&mut self, done: &BTreeSet<Delivery>) -> Vec<Ack> {
        for delivery in done {
            self.open.remove(delivery);
        }
        let low_water = self.open.first_key_value().map_or(Delivery::MAX, |(delivery, _)| *delivery);
        let below = done.range(..low_water).next_back();
        let mut acks: Vec<Ack> =
            below.map(|delivery| Ack { delivery: *delivery, all_before: true }).into_iter().collect();
        acks.extend(done.range(low_water..).map(|delivery| Ack { delivery: *delivery, all_before: false }));
        acks
    }

    /// These come again at once.
    pub(super) fn give_back(&mut self, tags: &[i64]) {
        for tag in tags {
            if self.leased_until.remove(tag).is_some() {
                self.waiting.insert(*tag);
            }
        }
    }

    fn expire(&mut self, now: Instant) {
        let over: Vec<i64> =
            self.leased_until.iter().filter(|(_, until)| **until <= now).map(|(tag, _)| *tag).collect();
        self.give_back(&over);
    }

    /// How many deliveries are here, and the oldest message of them.
    pub(super) fn held(&self) -> (u64, Option<Arc<[u8]>>) {
        (self.open.len() as u64, self.messages.first_key_value().map(|(_, message)| message.body.clone()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn filled(deliveries: &[usize]) -> Inbox {
        let mut inbox = Inbox::default();
        for (place, messages) in deliveries.iter().enumerate() {
            inbox.arrive(place as u64 + 1, vec![b"x".to_vec(); *messages]);
        }
        inbox
    }

    fn take(inbox: &mut Inbox, max: usize) -> Vec<i64> {
        let now = Instant::now();
        let later = now + Duration::from_secs(60);
        inbox.take(max, usize::MAX, now, later).into_iter().map(|(tag, _)| tag).collect()
    }

    #[test]
    fn one_acknowledgement_covers_everything_below_the_lowest_open_delivery() {
        let mut inbox = filled(&[1, 1, 1, 1]);
        let tags = take(&mut inbox, 4);
        assert_eq!(
            inbox.settled(&[tags[2], tags[0]]),
            [Ack { delivery: 1, all_before: true }, Ack { delivery: 3, all_before: false }]
        );
        assert_eq!(inbox.settled(&[tags[1], tags[3]]), [Ack { delivery: 4, all_before: true }]);
    }

    #[test]
    fn a_shared_delivery_is_acknowledged_with_its_last_message() {
        let mut inbox = filled(&[3]);
        let tags = take(&mut inbox, 3);
        assert!(inbox.settled(&tags[..2]).is_empty());
        assert_eq!(inbox.settled(&tags), [Ack { delivery: 1, all_before: true }]);
        assert!(inbox.settled(&tags).is_empty(), "settled once");
    }

    #[test]
    fn what_a_lost_channel_delivered_is_settled_by_nobody() {
        let mut inbox = filled(&[1]);
        let old = take(&mut inbox, 1);
        inbox.forget();
        inbox.arrive(1, vec![b"y".to_vec()]);
        assert!(inbox.settled(&old).is_empty());
        assert_eq!(take(&mut inbox, 9).len(), 1);
    }

    #[test]
    fn a_lease_that_ends_is_given_back_in_its_place() {
        let now = Instant::now();
        let mut inbox = filled(&[1, 1]);
        let first = inbox.take(1, usize::MAX, now, now + Duration::from_secs(1));
        assert_eq!(take(&mut inbox, 1).len(), 1);
        assert!(!inbox.anything_waits(now));
        assert!(inbox.anything_waits(now + Duration::from_secs(1)));
        let again = inbox.take(9, usize::MAX, now + Duration::from_secs(1), now + Duration::from_secs(9));
        assert_eq!(again.iter().map(|(tag, _)| *tag).collect::<Vec<_>>(), [first[0].0]);
    }
}
