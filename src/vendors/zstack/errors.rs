//! ZStack's errors: one table for the API's codes, one for what the REST layer says in plain text; code and a part of the
//! message → class and hint.
//!
//! Sources: the open server's code. A `resourceUuid` that exists, or existed, is an internal fault to it; what the database
//! says about that stands in a nested cause.

use crate::wire::{
    Class,
    table::{Row, lookup, row, row_saying},
};

/// The session is not known any more: the client makes a new one.
pub const SESSION_EXPIRED: &str = "ID.1001";
/// Anything that went wrong in the vendor.
pub const INTERNAL: &str = "SYS.1000";
/// The vendor gave up waiting; what it waited for may go on.
pub const TIMED_OUT: &str = "SYS.1001";

/// What to do about a `resourceUuid` that exists, or existed.
pub const UUID_IN_USE: &str = "An image of that uuid exists or existed, and ZStack gives a uuid only once, even after the image is expunged: use another forProvider.resourceUuid, or take the image over with spec.import if it is there / 该 UUID 的镜像存在或曾经存在，ZStack 的 UUID 即使在彻底删除后也不能重复使用：请更换 resourceUuid；若镜像仍在，可用 spec.import 接管";

/// The same of a uuid that the operator chose.
pub const UUID_SPENT: &str = "An image of that uuid existed, and ZStack gives a uuid only once; it is tried again with another one / 该 UUID 曾被使用，ZStack 的 UUID 不能重复使用，将换用新的 UUID 重试";

/// Class and hint of an answer in plain text.
pub fn lookup_text(status: u16, text: &str) -> (Class, &'static str) {
    match lookup(&[TEXTS], "", text) {
        (Class::Unlisted, "") if status >= 500 => (Class::Unavailable, ""),
        known => known,
    }
}

/// The API's codes.
pub const TABLE: &[Row] = &[
    // Who calls
    row(
        "ID.1000",
        Class::Credentials,
        "The accountName or password is wrong; correct the Secret / 账户名或密码错误，请修改 Secret",
    ),
    row(
        SESSION_EXPIRED,
        Class::Busy,
        "The session has ended; a new one is made and it is tried again / 会话已过期，将自动重新登录并重试",
    ),
    row("ID.1002", Class::Permission, "Allow the ZStack account this call / 请为该 ZStack 账户授权此操作"),
    row(
        "ID.1003",
        Class::Quota,
        "Delete images that are not needed, or raise the account's quota; it is tried again from time to time / 配额已用尽，请清理镜像或提升账户配额，稍后会自动重试",
    ),
    row(
        "ID.1005",
        Class::Credentials,
        "The password must be changed in ZStack first; then update the Secret / 须先在 ZStack 中修改密码，再更新 Secret",
    ),
    row(
        "ID.1006",
        Class::Quota,
        "The account has too many sessions: end some, or raise the limit; it is tried again / 账户的会话数已达上限，请结束部分会话或调高上限，将自动重试",
    ),
    row(
        "ID.2*",
        Class::Credentials,
        "The account needs a second factor, which a program cannot give; use an account without, or access keys / 该账户需要双因子认证，请改用其他账户或 AccessKey",
    ),
    row(
        "ID.*",
        Class::Credentials,
        "Check the ZStack account in the Secret / 请检查 Secret 中的 ZStack 账户",
    ),
    // Images
    row(
        "IMG.1000",
        Class::Unavailable,
        "ZStack could not make an image of the volume; look at the management node's log / 无法从云盘创建镜像，请查看管理节点日志",
    ),
    row(
        "IMG.1001",
        Class::Unavailable,
        "The upload to the backup storage was interrupted; look at the backup storage / 上传到镜像服务器时中断，请检查镜像服务器",
    ),
    // Everything
    row_saying("SYS.*", "Duplicate entry", Class::Conflict, UUID_IN_USE),
    row(
        "SYS.1000",
        Class::Unavailable,
        "An internal fault of ZStack; look at the management node's log / ZStack 内部错误，请查看管理节点日志",
    ),
    row(
        TIMED_OUT,
        Class::Unavailable,
        "ZStack gave up waiting; look at the management node's log / ZStack 操作超时，请查看管理节点日志",
    ),
    row(
        "SYS.1002",
        Class::Unavailable,
        "ZStack could not make it; look at the management node's log / 创建失败，请查看管理节点日志",
    ),
    row(
        "SYS.1003",
        Class::NotFound,
        "Create what the message names, or correct forProvider; it is tried again from time to time / 提示中的资源不存在，请创建或修改 forProvider，稍后会自动重试",
    ),
    row(
        "SYS.1004",
        Class::Unavailable,
        "ZStack could not delete it; look at the management node's log / 删除失败，请查看管理节点日志",
    ),
    row(
        "SYS.1005",
        Class::Busy,
        "Its state does not allow the call; it is tried again / 当前状态不允许此操作，将自动重试",
    ),
    // What passes: the server's message tells.
    row_saying(
        "SYS.1006",
        "allocate backup storage",
        Class::Busy,
        "No backup storage has room or is connected; make room or connect one, it is tried again / 没有可用的镜像服务器（空间不足或未连接），请处理，将自动重试",
    ),
    row_saying(
        "SYS.1006",
        "allow to proceed",
        Class::Busy,
        "The virtual machine must be Running, Stopped or Paused; it is tried again / 云主机须处于运行、停止或暂停状态，将自动重试",
    ),
    row(
        "SYS.1006",
        Class::Busy,
        "ZStack could not do it at the moment, the message says why; it is tried again / 当前无法完成操作，原因见提示，将自动重试",
    ),
    row("SYS.1007", Class::Invalid, "Correct the parameter that the message names / 请修改提示中的参数"),
    row(
        "SYS.1010",
        Class::Busy,
        "Something that is needed is not ready yet; it is tried again / 所需资源尚未就绪，将自动重试",
    ),
    row(
        "SYS.1012",
        Class::Busy,
        "A management node is not available; it is tried again / 管理节点不可用，将自动重试",
    ),
    row(
        "SYS.1016",
        Class::Unavailable,
        "ZStack could not read or write something; look at the management node's log / ZStack 读写失败，请查看管理节点日志",
    ),
    row("SYS.1017", Class::Unavailable, "Somebody cancelled it in ZStack / 该操作已在 ZStack 中被取消"),
];

/// What the REST layer says before it accepts a call, in plain text: no codes.
pub const TEXTS: &[Row] = &[
    row_saying(
        "",
        "the job has been expired",
        Class::NotFound,
        "ZStack has no record of the job / ZStack 没有该任务的记录",
    ),
    row_saying(
        "",
        "Duplicate job uuid",
        Class::Conflict,
        "ZStack accepted this call before / ZStack 已接受过此请求",
    ),
    row_saying(
        "",
        "requestTimeTooSkewed",
        Class::ClockSkew,
        "Set the account's zstack.timeZone to the management node's time zone, and correct the clocks / 请将账号的 zstack.timeZone 设为管理节点的时区，并校准时钟",
    ),
    row_saying(
        "",
        "wrong accessKey signature",
        Class::Credentials,
        "The accessKeySecret does not fit the accessKeyId; correct the Secret / accessKeySecret 与 accessKeyId 不匹配，请修改 Secret",
    ),
    row_saying(
        "",
        "access key id",
        Class::Credentials,
        "The accessKeyId is not known; correct the Secret / accessKeyId 不存在，请修改 Secret",
    ),
    row_saying(
        "",
        "Authorization",
        Class::Credentials,
        "ZStack did not take the Authorization header; check proxies on the way / ZStack 未接受 Authorization 请求头，请检查中间代理",
    ),
    // The open server has no limit on requests; what stands in front of it may.
    row_saying(
        "",
        "too many requests",
        Class::Throttled,
        "Too many requests; the operator waits / 请求过于频繁，将自动等待",
    ),
    row_saying(
        "",
        "no api mapping",
        Class::Unlisted,
        "The endpoint has no such path; check the account's zstack.endpoint / 该地址没有此接口，请检查账号的 zstack.endpoint",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::table::check;

    #[test]
    fn every_row_can_be_reached_and_has_both_languages() {
        check(TABLE);
        check(TEXTS);
    }

    #[test]
    fn plain_text_is_told_apart() {
        assert_eq!(lookup_text(400, "Duplicate job uuid[abc]").0, Class::Conflict);
        assert_eq!(lookup_text(403, "requestTimeTooSkewed: the difference is too large").0, Class::ClockSkew);
        assert_eq!(lookup_text(400, "too many requests").0, Class::Throttled);
        assert_eq!(lookup_text(400, "something else").0, Class::Unlisted);
        assert_eq!(lookup_text(500, "something else").0, Class::Unavailable);
    }
}
