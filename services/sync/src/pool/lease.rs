//! A stream that is taken, until the answer's body has been read or dropped.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::slots::{Slots, Streams};

/// Gives its stream back when dropped.
pub(super) struct Lease {
    slots: Arc<Slots>,
    streams: Arc<Streams>,
}

impl Lease {
    pub(super) fn new(slots: Arc<Slots>, streams: Arc<Streams>) -> Self {
        Self { slots, streams }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.streams.taken.fetch_sub(1, Ordering::AcqRel);
        self.slots.notify();
    }
}

/// A body that holds its stream.
pub struct Leased<B> {
    body: B,
    _lease: Lease,
}

impl<B> Leased<B> {
    pub(super) fn new(body: B, lease: Lease) -> Self {
        Self {
            body,
            _lease: lease,
        }
    }
}

impl<B> std::fmt::Debug for Leased<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leased").finish_non_exhaustive()
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Leased<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
