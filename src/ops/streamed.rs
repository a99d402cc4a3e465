//! What one thread finds, handed to another as an iterator: a diff tells, an edit asks.

use std::sync::mpsc::sync_channel;
use std::thread;

use crate::error::{Error, ErrorKind, Result};

/// Items that may wait between the two.
const WAITING: usize = 512;

/// Where a producer puts what it finds; an error means that nobody wants more.
pub(super) type Sink<'a, T> = &'a mut dyn FnMut(T) -> Result<()>;

/// Runs `produce` on a thread of its own and `consume` on this one, with a short queue between them.
///
/// An error of the producer is the last item.
pub(super) fn streamed<T: Send, R>(
    produce: impl FnOnce(Sink<'_, T>) -> Result<()> + Send,
    consume: impl FnOnce(&mut dyn Iterator<Item = Result<T>>) -> Result<R>,
) -> Result<R> {
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel(WAITING);
        scope.spawn(move || {
            let stopped = |_| Error::new(ErrorKind::Interrupted, "", "nobody wants the rest");
            if let Err(error) = produce(&mut |item| sender.send(Ok(item)).map_err(stopped)) {
                // Without a receiver the error is the one just made here.
                let _ = sender.send(Err(error));
            }
        });
        // The receiver ends with the call, which ends the producer.
        consume(&mut receiver.into_iter())
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn count_to(end: u32) -> impl FnOnce(Sink<'_, u32>) -> Result<()> + Send {
        move |sink| (0..end).try_for_each(sink)
    }

    #[test]
    fn everything_arrives_in_order() {
        let all = streamed(count_to(5000), |items| items.collect::<Result<Vec<u32>>>()).unwrap();
        assert!(all.iter().copied().eq(0..5000));
    }

    #[test]
    fn an_error_on_either_side_ends_both() {
        let failing = |sink: Sink<'_, u32>| {
            sink(1)?;
            Err(Error::new(ErrorKind::Data, "x", "broken"))
        };
        let got = streamed(failing, |items| items.collect::<Result<Vec<u32>>>());
        assert_eq!(got.unwrap_err().kind(), ErrorKind::Data);
        let first = streamed(count_to(u32::MAX), |items| items.next().unwrap());
        assert_eq!(first.unwrap(), 0);
    }
}
