//! Guards that stand in the requests themselves: on the wire they can be taken out.

use serde_json::Value;

use super::store::Call;
use crate::guard::{self, Guard};

/// A request as it arrives: without what a guard that is out would have put into it.
pub(super) fn stripped(call: &Call) -> Call {
    let mut call = call.clone();
    if !guard::stands(Guard::DeleteNamesUid)
        && let Some(options) = call.body.as_object_mut()
    {
        options.remove("preconditions");
    }
    if !guard::stands(Guard::PatchNamesUid)
        && call.method == http::Method::PATCH
        && let Some(metadata) = call.body.get_mut("metadata").and_then(Value::as_object_mut)
    {
        metadata.remove("uid");
    }
    let is_list = call.method == http::Method::GET && !call.is_watch();
    if !guard::stands(Guard::ListsAreFresh) && is_list {
        call.query.push_str("&resourceVersion=0");
    }
    call
}

/// An answer as it is read: without the guard that reads whose an object is, strangers' are taken for one's own.
pub(super) fn forged(text: String) -> String {
    if guard::stands(Guard::OwnerIsRead) {
        return text;
    }
    text.replace("\"earlier-", "\"cluster-")
}
