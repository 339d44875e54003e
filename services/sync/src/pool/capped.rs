//! Bodies of answers that end with an error when they are larger than anybody has a use for.
//!
//! API servers of tenants are not trusted: one that answers without end would fill the memory that all tenants share.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::Error;
use crate::reply::BoxError;

/// What of an answer is bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    /// Nothing: it is passed on as it comes.
    Nothing,
    /// All of it.
    Whole(usize),
    /// Each line: a watch has no end.
    Line(usize),
}

/// A body that is bounded.
pub struct Capped<B> {
    body: B,
    bound: Bound,
    taken: usize,
    ended: bool,
}

impl<B> Capped<B> {
    /// Bounds the answer to a request with that query.
    pub(super) fn new(body: B, most: Option<usize>, query: &str) -> Self {
        let is_watch = query
            .split('&')
            .any(|pair| matches!(pair, "watch=true" | "watch=1"));
        let bound = match most {
            None => Bound::Nothing,
            Some(most) if is_watch => Bound::Line(most),
            Some(most) => Bound::Whole(most),
        };
        Self {
            body,
            bound,
            taken: 0,
            ended: false,
        }
    }

    /// Takes note of a piece.
    fn take(&mut self, data: &[u8]) -> Result<(), Error> {
        let (taken, most) = match self.bound {
            Bound::Nothing => return Ok(()),
            Bound::Whole(most) => (self.taken + data.len(), most),
            Bound::Line(most) => match data.iter().rposition(|byte| *byte == b'\n') {
                Some(end) => (data.len() - end - 1, most),
                None => (self.taken + data.len(), most),
            },
        };
        self.taken = taken;
        if taken > most {
            return Err(Error::TooLarge(most));
        }
        Ok(())
    }
}

impl<B> std::fmt::Debug for Capped<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Capped")
            .field("bound", &self.bound)
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}

impl<B> Body for Capped<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(context)) else {
            return Poll::Ready(None);
        };
        let frame = frame.map_err(Into::into)?;
        if let Some(Err(error)) = frame.data_ref().map(|data| self.take(data)) {
            self.ended = true;
            return Poll::Ready(Some(Err(error.into())));
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    async fn read(
        query: &str,
        most: Option<usize>,
        pieces: &[&'static str],
    ) -> Result<usize, String> {
        let frames: Vec<_> = pieces
            .iter()
            .map(|piece| Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from(*piece))))
            .collect();
        let body = StreamBody::new(futures::stream::iter(frames));
        let read = Capped::new(body, most, query).collect().await;
        let read = read.map_err(|error| error.to_string())?;
        Ok(read.to_bytes().len())
    }

    #[tokio::test]
    async fn an_answer_may_be_so_large_and_each_line_of_a_watch_too() {
        let pieces = ["12345\n", "12", "345\n1"];
        assert_eq!(read("", None, &pieces).await, Ok(13));
        assert_eq!(read("limit=1", Some(13), &pieces).await, Ok(13));
        let refused = read("limit=1", Some(12), &pieces).await.unwrap_err();
        assert!(refused.contains("larger than 12 bytes"), "{refused}");
        assert_eq!(read("&watch=true&x=1", Some(5), &pieces).await, Ok(13));
        let endless = ["123", "456", "7"];
        assert!(read("watch=true", Some(5), &endless).await.is_err());
    }
}
