//! What is remembered of a pool's root while its partition lives, so that the next partition can open it again.

use std::sync::{Arc, Mutex, PoisonError};
use strongroom_hsm::verbs::{History, RootParts};
use strongroom_hsm::{HsmError, Reply, Request};

/// The root as it passed through, and the run that the next one is to name.
#[derive(Default)]
pub(crate) struct RootMemory(Mutex<Remembered>);

#[derive(Default)]
struct Remembered {
    root: Option<RootParts>,
    /// The run that goes on now, by its opening; none while a new one begins.
    running: Option<[u8; 32]>,
}

/// What a request may teach once its reply is there.
pub(crate) enum Lesson {
    /// Nothing.
    None,
    /// A root was created.
    Create,
    /// This root was opened.
    Open(Box<RootParts>),
}

impl Lesson {
    /// What `request` may teach.
    pub(crate) fn of(request: &Request) -> Self {
        match request {
            Request::OpenRoot(parts) => Self::Open(Box::new(parts.clone())),
            Request::CreateRoot => Self::Create,
            Request::Describe
            | Request::Generate(..)
            | Request::Import(..)
            | Request::Rebind(..)
            | Request::Operate(_)
            | Request::Random { .. }
            | Request::Checkpoint
            | Request::SelfTest => Self::None,
        }
    }
}

impl RootMemory {
    /// Learns from the reply.
    #[allow(clippy::wildcard_enum_match_arm, reason = "every other reply teaches nothing")]
    pub(crate) fn learn(&self, lesson: Lesson, result: &Result<Reply, HsmError>) {
        let (Lesson::Create | Lesson::Open(_), Ok(reply)) = (&lesson, result) else { return };
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (lesson, reply) {
            (Lesson::Open(parts), Reply::RootOpened(opening)) => {
                *memory = Remembered { root: Some(*parts), running: Some(opening.digest()) };
            }
            (Lesson::Create, Reply::RootCreated { wrapped, audit_key, opening }) => {
                let parts = RootParts {
                    wrapped: wrapped.clone(),
                    audit_key: Arc::new(audit_key.blob.clone()),
                    audit_public: audit_key.public.clone(),
                    last: History { opening: opening.clone(), checkpoints: Vec::new() },
                };
                *memory = Remembered { root: Some(parts), running: Some(opening.digest()) };
            }
            _ => {}
        }
    }

    /// See [`strongroom_hsm::Gateway::remember`].
    pub(crate) fn remember(&self, history: &History) -> bool {
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let running = memory.running == Some(history.opening.digest());
        match &mut memory.root {
            Some(parts) if running => {
                parts.last = history.clone();
                true
            }
            Some(_) | None => false,
        }
    }

    /// What opens the root in a new partition; `None` when there was none yet. The run before has ended with this.
    pub(crate) fn reopen(&self) -> Option<Request> {
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        memory.running = None;
        memory.root.clone().map(Request::OpenRoot)
    }
}
