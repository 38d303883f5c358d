//! The fine print, sentence by sentence: each test is named by the sentence it holds core to, word for word. What a
//! sentence asks of the store, the worker or the console is tested there: `elsewhere.rs` says where.

/// `name: "The sentence." => { its test }`. The sentence is printed when it does not hold.
macro_rules! sentences {
    ($($(#[$meta:meta])* $name:ident: $sentence:literal => $body:block)+) => {
        $(
            $(#[$meta])*
            #[test]
            fn $name() {
                let _sentence = crate::Sentence($sentence);
                $body
            }
        )+
    };
}

/// Says which sentence does not hold.
struct Sentence(&'static str);

impl Drop for Sentence {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("does not hold: {}", self.0);
        }
    }
}

mod brake;
mod elsewhere;
mod guests;
#[allow(dead_code)]
#[path = "../model/household.rs"]
mod household;
mod kind_change;
mod leaving;
mod local_edits;
mod matching;
mod precedence;
mod running;
#[allow(dead_code)]
#[path = "../model/world.rs"]
mod world;
