//! Every limit on what comes from outside, in one place for both daemons. A path that takes input and does not use these is a bug.

/// Longest token in bytes.
pub const TOKEN_BYTES_MAX: usize = 2_048;
/// Longest life of a token in seconds.
pub const TOKEN_TTL_SECONDS_MAX: u32 = 300;
/// Life of a token in seconds where nothing else is said.
pub const TOKEN_TTL_SECONDS_DEFAULT: u32 = 60;
/// Largest clock leeway that may be configured, in seconds.
pub const LEEWAY_SECONDS_MAX: u32 = 30;
/// Clock leeway in seconds where nothing else is said.
pub const LEEWAY_SECONDS_DEFAULT: u32 = 5;
/// Deepest nesting of CBOR inside a token.
pub const TOKEN_DEPTH_MAX: usize = 8;
/// Longest canonical arguments, and longest JSON text of them, in bytes.
pub const ARGS_BYTES_MAX: usize = 65_536;
/// Deepest nesting of arguments; the top-level map is level one.
pub const ARGS_DEPTH_MAX: usize = 16;
/// Most values in one set of arguments, containers included.
pub const ARGS_NODES_MAX: usize = 10_000;
/// Most keys in one map.
pub const KEYS_MAX: usize = 256;
/// Longest key in bytes.
pub const KEY_BYTES_MAX: usize = 128;
/// Longest text or byte string in bytes.
pub const STRING_BYTES_MAX: usize = 32 * 1_024;
/// Most items in one list.
pub const LIST_ITEMS_MAX: usize = 1_000;
/// Longest number literal in characters.
pub const NUMBER_CHARS_MAX: usize = 64;
/// Longest name of an action that is a tool of its own: clients of MCP take names of 64 characters, with `mcp__writ__` before.
pub const TOOL_NAME_CHARS_MAX: usize = 64 - "mcp__writ__".len();
/// Largest gRPC message in bytes.
pub const MESSAGE_BYTES_MAX: usize = 256 * 1_024;
/// Longest reason in bytes.
pub const REASON_BYTES_MAX: usize = 2_000;
/// Longest precondition (version tag or digest) in bytes.
pub const PRECONDITION_BYTES_MAX: usize = 256;
/// Longest identifier of a target or of a connection, in bytes.
pub const IDENT_BYTES_MAX: usize = 128;
/// Longest issuer, subject or audience, in bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// Most pieces of evidence in one request.
pub const EVIDENCE_ITEMS_MAX: usize = 16;
/// Longest answer of a tool that is kept with a request.
pub const TOOL_ANSWER_BYTES_MAX: usize = 16 * 1_024;
/// Longest quote in one piece of evidence, in bytes.
pub const EVIDENCE_QUOTE_BYTES_MAX: usize = 4_096;
/// Most items in one batch.
pub const BATCH_ITEMS_MAX: usize = 100;
/// Most items in one page.
pub const PAGE_SIZE_MAX: usize = 1_000;
/// Items in one page where nothing else is said.
pub const PAGE_SIZE_DEFAULT: usize = 100;
/// Most outcomes in one report.
pub const OUTCOMES_MAX: usize = 100;
/// Longest action card in bytes.
pub const CARD_BYTES_MAX: usize = 64 * 1_024;
/// Most arguments on one card.
pub const CARD_ARGS_MAX: usize = 64;
/// Most keys in a trust document.
pub const KEYSET_KEYS_MAX: usize = 256;
/// Longest trust document in bytes.
pub const KEYSET_BYTES_MAX: usize = 256 * 1_024;
/// Longest time in which a write can be undone.
pub const UNDO_SECONDS_MAX: u32 = 30 * 24 * 3_600;
