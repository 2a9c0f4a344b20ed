//! Documents in the Redis of the halts, each under one key, replaced only over what was read.

use std::time::Duration;

use redis::Client;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use zeroize::Zeroizing;

use super::{AccessError, Change, DOCUMENT_BYTES_MAX, Document};
use crate::halt::RedisPlace;

const ANSWER_MAX: Duration = Duration::from_millis(500);
const TRIES_MAX: u32 = 32;
const REPLACE: &str = "if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end \
                       redis.call('SET', KEYS[1], ARGV[2]) return 1";

/// The Redis.
#[derive(Clone)]
pub(crate) struct Redis {
    connection: ConnectionManager,
}

impl core::fmt::Debug for Redis {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Redis").finish_non_exhaustive()
    }
}

fn failed(why: impl core::fmt::Display) -> AccessError {
    AccessError::Unavailable(format!("redis: {why}"))
}

/// Beside the halts, in the same slot of a cluster.
fn key(which: Document) -> String {
    format!("{{writ}}:halt:access:{}", which.name())
}

impl Redis {
    pub(super) fn new(url: &str) -> Result<Self, AccessError> {
        RedisPlace::check(url).map_err(failed)?;
        let client = Client::open(url).map_err(failed)?;
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_min_delay(Duration::from_millis(20))
            .set_max_delay(Duration::from_millis(100))
            .set_response_timeout(Some(ANSWER_MAX))
            .set_connection_timeout(Some(ANSWER_MAX));
        let connection = ConnectionManager::new_lazy_with_config(client, config);
        Ok(Self {
            connection: connection.map_err(failed)?,
        })
    }

    /// The text of one; none if it was never written.
    pub(super) async fn text(
        &self,
        which: Document,
    ) -> Result<Option<Zeroizing<String>>, AccessError> {
        let mut connection = self.connection.clone();
        let mut get = redis::cmd("GET");
        let text = get.arg(key(which)).query_async(&mut connection).await;
        let text: Option<String> = text.map_err(failed)?;
        if text
            .as_ref()
            .is_some_and(|text| u64::try_from(text.len()).is_ok_and(|len| len > DOCUMENT_BYTES_MAX))
        {
            return Err(failed(format!("{} is too large", which.name())));
        }
        Ok(text.map(Zeroizing::new))
    }

    /// Replaces one by what a change makes of it, and begins again where somebody was faster.
    pub(super) async fn edit<R: Send>(
        &self,
        which: Document,
        change: Change<'_, R>,
    ) -> Result<R, AccessError> {
        let mut connection = self.connection.clone();
        for _ in 0..TRIES_MAX {
            let before = self.text(which).await?;
            let (after, result) = change(before.as_ref().map(|text| text.as_str()))?;
            let before = before.as_ref().map_or("", |text| text.as_str());
            let mut replace = redis::cmd("EVAL");
            replace
                .arg(REPLACE)
                .arg(1)
                .arg(key(which))
                .arg(before)
                .arg(after.as_str());
            let replaced: i64 = replace.query_async(&mut connection).await.map_err(failed)?;
            if replaced == 1 {
                return Ok(result);
            }
        }
        Err(failed(format!(
            "{} is changed by too many at once",
            which.name()
        )))
    }
}
