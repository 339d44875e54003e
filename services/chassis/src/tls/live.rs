//! A value that may be replaced while others use it.

use tokio::sync::watch;

/// The newest version of a value. A plain value becomes one that never changes.
#[derive(Debug, Clone)]
pub struct Live<T> {
    receiver: watch::Receiver<T>,
}

/// Replaces the value that every [`Live`] of it shows.
#[derive(Debug)]
pub struct Publisher<T> {
    sender: watch::Sender<T>,
}

impl<T: Clone> Live<T> {
    /// Makes a value and the means to replace it.
    pub fn channel(initial: T) -> (Publisher<T>, Self) {
        let (sender, receiver) = watch::channel(initial);
        (Publisher { sender }, Self { receiver })
    }

    /// The value of this moment.
    pub fn current(&self) -> T {
        self.receiver.borrow().clone()
    }

    /// Waits for a replacement that this handle has not seen; for ever, if there will be none.
    ///
    /// Cancel safe.
    pub async fn changed(&mut self) {
        if self.receiver.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl<T: Clone> From<T> for Live<T> {
    fn from(value: T) -> Self {
        Self::channel(value).1
    }
}

impl<T> Publisher<T> {
    /// Replaces the value for every handle.
    pub fn publish(&self, value: T) {
        self.sender.send_replace(value);
    }
}
