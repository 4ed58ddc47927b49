//! What is remembered of a pool's root while its partition lives, so that the next partition can open it again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use strongroom_hsm::verbs::{Checkpoint, WrappedRoot};
use strongroom_hsm::{HsmError, KeyBlob, Reply, Request};

/// The root as it passed through, with the last checkpoint of every chain.
#[derive(Default)]
pub(crate) struct RootMemory(Mutex<Remembered>);

#[derive(Default)]
struct Remembered {
    root: Option<(WrappedRoot, Arc<KeyBlob>)>,
    /// Handed over to the present partition.
    handed: Vec<Checkpoint>,
    /// Signed by the present partition: the first of them name those handed over.
    signed: HashMap<[u8; 16], Checkpoint>,
}

/// What a request may teach once its reply is there.
pub(crate) enum Lesson {
    /// Nothing.
    None,
    /// A root was created, or checkpoints were signed.
    Reply,
    /// This root was opened.
    Open(WrappedRoot, Arc<KeyBlob>, Vec<Checkpoint>),
}

impl Lesson {
    /// What `request` may teach.
    pub(crate) fn of(request: &Request) -> Self {
        match request {
            Request::OpenRoot { wrapped, audit_key, last } => {
                Self::Open(wrapped.clone(), Arc::clone(audit_key), last.clone())
            }
            Request::CreateRoot | Request::Checkpoint => Self::Reply,
            Request::Describe
            | Request::Generate(_)
            | Request::Import(..)
            | Request::Rebind(..)
            | Request::Operate(_)
            | Request::Random { .. }
            | Request::SelfTest => Self::None,
        }
    }
}

impl RootMemory {
    /// Learns from the reply.
    #[allow(clippy::wildcard_enum_match_arm, reason = "every other reply teaches nothing")]
    pub(crate) fn learn(&self, lesson: Lesson, result: &Result<Reply, HsmError>) {
        let (Lesson::Reply | Lesson::Open(..), Ok(reply)) = (&lesson, result) else { return };
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (lesson, reply) {
            (Lesson::Open(wrapped, audit_key, last), Reply::RootOpened) => {
                memory.root = Some((wrapped, audit_key));
                memory.handed = last;
                memory.signed.clear();
            }
            (Lesson::Reply, Reply::RootCreated { wrapped, audit_key }) => {
                memory.root = Some((wrapped.clone(), Arc::new(audit_key.blob.clone())));
            }
            (Lesson::Reply, Reply::Checkpoints(checkpoints)) => {
                for checkpoint in checkpoints {
                    let known = memory.signed.entry(checkpoint.chain).or_insert_with(|| checkpoint.clone());
                    if known.sequence < checkpoint.sequence {
                        *known = checkpoint.clone();
                    }
                }
            }
            _ => {}
        }
    }

    /// What opens the root in a new partition; `None` when there was none yet.
    pub(crate) fn reopen(&self) -> Option<Request> {
        let memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (wrapped, audit_key) = memory.root.clone()?;
        let last =
            if memory.signed.is_empty() { memory.handed.clone() } else { memory.signed.values().cloned().collect() };
        Some(Request::OpenRoot { wrapped, audit_key, last })
    }
}
