//! Every reason that a condition can give, with what it means and what to do about it: the source of the
//! troubleshooting pages. `tests/docs.rs` finds reasons in the code that are not declared here.

use crate::wire::Class;
use serde::Serialize;

/// One reason of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// As it stands in the condition: one CamelCase word.
    pub name: &'static str,
    /// Whose condition it is.
    pub of: Of,
    /// Who has to act.
    pub acts: Acts,
    /// What it means, in English and Chinese, with ` / ` in between.
    pub means: &'static str,
    /// What to do about it, in English and Chinese, with ` / ` in between.
    pub advice: &'static str,
}

/// Whose condition a reason stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Of {
    /// An image object's.
    Images,
    /// An account object's.
    Accounts,
    /// An account's, and then that of the images that use it.
    Both,
    /// No condition's: an Event of an image.
    Events,
}

/// Who has to act on a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Acts {
    /// Nobody: it is well, or goes on by itself.
    Nobody,
    /// A person; what waits goes on by itself once that is done.
    Person,
}

use Acts::{Nobody, Person};
use Of::{Accounts, Both, Events, Images};

/// All of them, in the order of the page: the way of an image, accounts, the vendor's answers, and what a person decides.
pub const REASONS: &[Reason] = &[
    // The way of an image
    reason(
        "Available",
        Images,
        Nobody,
        "The vendor has the image, usable, as the spec says / 厂商侧镜像存在、可用，且与 spec 一致",
        "Nothing / 无需处理",
    ),
    reason(
        "AvailableWithWarning",
        Images,
        Person,
        "The vendor has the image, usable, as the spec says, and something went wrong all the same: the run that built it succeeded in part, for example / 厂商侧镜像存在、可用，且与 spec 一致，但过程中有部分步骤出错，例如构建任务部分成功",
        "Look at what the message names, in the vendor's console: what a run left there costs. The image can be used meanwhile / 按消息在厂商控制台检查，残留资源会产生费用；镜像可正常使用",
    ),
    reason(
        "Pending",
        Images,
        Nobody,
        "The creating call is about to be made / 即将发起创建请求",
        "Nothing / 无需处理",
    ),
    reason(
        "Submitting",
        Images,
        Nobody,
        "The creating call was made and its answer is not stored yet; the vendor is asked what became of it / 已发起创建请求，结果尚未记录；Operator 正在向厂商查证",
        "Nothing; it is never asked for twice meanwhile / 无需处理，期间不会重复创建",
    ),
    reason(
        "PreflightFailed",
        Images,
        Person,
        "The creating call is not made yet, since what it needs is not there or cannot be used: the source image of an export or a copy, the product of a cloud phone image / 创建所需的内容不存在或不可用（导出或复制的源镜像、云手机镜像的产品），因此尚未发起创建请求",
        "Do what the message says; it is looked at again by itself, at once when the spec changes or the annotation reconcile.cloudimages.dev/requested-at is set. If you know better, set preflightPolicy: Skip / 按消息处理；会自动再次检查，修改 spec 或设置注解 reconcile.cloudimages.dev/requested-at 可立即检查。若确认无误，可设置 preflightPolicy: Skip",
    ),
    reason(
        "Building",
        Images,
        Nobody,
        "The vendor is making the image / 厂商正在制作镜像",
        "Nothing; the message says from when on it counts as too long, which is for spec.timeout to say / 无需处理；消息中说明何时算作超时，由 spec.timeout 决定",
    ),
    reason(
        "TestFailed",
        Images,
        Person,
        "The image was built and its tests failed / 镜像已构建，但测试失败",
        "Look at the output of the run in the vendor's console; onTestFailure: Keep leaves the image there. Then correct the pipeline's steps, or set the annotation reconcile.cloudimages.dev/requested-at to try again / 请在厂商控制台查看构建任务的输出，onTestFailure: Keep 可保留镜像；修改流水线步骤，或设置注解 reconcile.cloudimages.dev/requested-at 以重试",
    ),
    reason(
        "Cleared",
        Events,
        Nobody,
        "What a failed attempt left behind was deleted at the vendor / 已在厂商侧删除失败的尝试留下的内容",
        "Nothing / 无需处理",
    ),
    reason(
        "Updating",
        Images,
        Nobody,
        "A change was sent to the vendor and does not show there yet / 变更已发送给厂商，尚未生效",
        "Nothing / 无需处理",
    ),
    reason(
        "Retired",
        Images,
        Nobody,
        "An earlier version was deleted at the vendor: versionsToKeep asks for fewer, or the object goes / 已在厂商侧删除旧版本：超过 versionsToKeep，或对象正在删除",
        "Nothing / 无需处理",
    ),
    reason(
        "TooManyVersions",
        Images,
        Person,
        "versionPolicy is Bump, and there is no room or no number for another version / versionPolicy 为 Bump，但版本数或版本号已用尽",
        "Set versionsToKeep, stop using old versions at the vendor, or make a new object with another name / 设置 versionsToKeep，解除厂商侧对旧版本的引用，或使用其他名称新建对象",
    ),
    reason(
        "Deleting",
        Images,
        Nobody,
        "The object is being deleted, and the image at the vendor first / 对象正在删除，先删除厂商侧镜像",
        "Nothing / 无需处理",
    ),
    reason(
        "DeletionWaits",
        Images,
        Nobody,
        "The vendor cannot delete it yet: a task that cannot be cancelled is running, or others share the image, for example / 厂商暂时无法删除，例如有无法取消的任务正在运行，或镜像仍由他人共享",
        "Wait, do what the message says, or set deletionPolicy: Retain to let the object go at once and leave the vendor's side alone / 等待，按消息处理，或设置 deletionPolicy: Retain 立即释放对象并保留厂商侧资源",
    ),
    reason(
        "Distributing",
        Images,
        Nobody,
        "Copies of an ImageDistribution are under way, wait for a place, or are being deleted / ImageDistribution 的副本正在进行、等待名额或正在删除",
        "Nothing; maxParallel says how many are unfinished at a time / 无需处理；maxParallel 决定同时未完成的副本数",
    ),
    reason(
        "CopyStalled",
        Images,
        Person,
        "A copy of an ImageDistribution needs a person; the message names the region and says what its AliyunImageCopy says / ImageDistribution 的某个副本需要人工处理；消息指出地域以及该 AliyunImageCopy 的说明",
        "Do what the message says, then set the annotation reconcile.cloudimages.dev/requested-at on the ImageDistribution: it is passed on to its copies. Or take the region out / 按消息处理，然后在 ImageDistribution 上设置注解 reconcile.cloudimages.dev/requested-at，它会传给各副本；也可以移除该地域",
    ),
    reason(
        "NameTaken",
        Images,
        Person,
        "An AliyunImageCopy that an ImageDistribution would make is there already and is not its own / ImageDistribution 要创建的 AliyunImageCopy 已存在且不属于它",
        "Delete the one that is there, or take the region out; it is never taken over / 删除已有的对象，或移除该地域；绝不会接管它",
    ),
    reason(
        "CopyRefused",
        Images,
        Person,
        "The API server does not let a copy of an ImageDistribution be made, changed or deleted; the message has its words / API Server 拒绝创建、修改或删除 ImageDistribution 的副本，消息中有其说明",
        "Correct what the message names: a quota, a policy, the operator's rights, or a copy that somebody changed in what cannot be changed back, which can be deleted. It is tried again every ten minutes, and at once when the annotation reconcile.cloudimages.dev/requested-at is set / 纠正消息所指：配额、策略、Operator 的权限，或被改成无法改回的副本（可将其删除）。每十分钟重试一次，设置注解 reconcile.cloudimages.dev/requested-at 可立即重试",
    ),
    reason(
        "TimedOut",
        Images,
        Person,
        "The build takes longer than spec.timeout; it is still looked at, and a late success counts / 制作时间超过 spec.timeout；仍会继续查看，迟到的成功同样有效",
        "Ask the vendor about the task or image that the message names, raise spec.timeout, or delete the object / 向厂商查询消息中的任务或镜像，调大 spec.timeout，或删除对象",
    ),
    reason(
        "BuildFailed",
        Images,
        Person,
        "The vendor could not build the image; the message has what it said / 厂商制作镜像失败，原因见消息",
        "Mend what the message names; then change the spec, or set the annotation reconcile.cloudimages.dev/requested-at to try again / 按消息修复后修改 spec，或设置注解 reconcile.cloudimages.dev/requested-at 重试",
    ),
    reason(
        "ExportFailed",
        Images,
        Person,
        "The vendor's export task failed; its API gives no reason / 厂商导出任务失败，API 不返回原因",
        "Check that ECS may write to the bucket and that the image can be exported; then change the spec, or set the annotation reconcile.cloudimages.dev/requested-at to try again / 检查 ECS 对桶的写权限及镜像是否可导出，再修改 spec 或设置注解 reconcile.cloudimages.dev/requested-at 重试",
    ),
    reason(
        "Failed",
        Images,
        Person,
        "The attempt failed, and the status does not say why / 创建失败，status 中没有原因",
        "Look at status.operation and the vendor's console; then change the spec, or set the annotation reconcile.cloudimages.dev/requested-at to try again / 查看 status.operation 与厂商控制台，再修改 spec 或设置注解 reconcile.cloudimages.dev/requested-at 重试",
    ),
    reason(
        "Missing",
        Images,
        Person,
        "The vendor no longer has the image, or does not know the task that it took / 厂商侧镜像已不存在，或查不到已接受的任务",
        "Look for it in the vendor's console; set recreatePolicy: WhenMissing to have it made again, or delete the object. One that was imported is never made again: delete the object and make a new one / 在厂商控制台查找；设置 recreatePolicy: WhenMissing 重新制作，或删除对象；通过 import 接管的不会重新制作，请删除对象并新建",
    ),
    reason(
        "Unusable",
        Images,
        Person,
        "The vendor has the image, and it cannot be used now: it is disabled, is being moved, or has a status that nobody knows / 厂商侧镜像存在但当前不可用：已停用、正在迁移或状态未知",
        "Do what the message says; it is looked at every minute, and is Ready again by itself as soon as it can be used / 按消息处理；每分钟查看一次，恢复可用后会自动变为 Ready",
    ),
    reason(
        "SpecDiffers",
        Images,
        Person,
        "The vendor's image differs from the spec in fields that the vendor cannot change / 厂商侧镜像与 spec 在不可修改的字段上不一致",
        "Correct the spec to what the vendor has, or make a new object / 将 spec 改为与厂商一致，或新建对象",
    ),
    reason(
        "NotConverging",
        Images,
        Person,
        "A difference was set right several times and comes back / 差异多次修正后仍然出现",
        "Find who else sets the field that the message names, and set the annotation reconcile.cloudimages.dev/requested-at to have it set once more; or write it as the vendor keeps it / 找出还有谁在修改消息中的字段，再设置注解 reconcile.cloudimages.dev/requested-at 以重新写入；或按厂商保存的形式填写",
    ),
    reason(
        "Suspended",
        Images,
        Person,
        "suspend is true, so the vendor is not called / suspend 为 true，不会调用厂商接口",
        "Set suspend: false to go on. A deletion goes on with deletionPolicy: Retain, too, or when the finalizer cloudimages.dev/external is taken off: the image stays at the vendor then / 设置 suspend: false 继续。删除时也可设置 deletionPolicy: Retain，或移除 finalizer cloudimages.dev/external，此时厂商侧镜像保留",
    ),
    reason(
        "LookFailed",
        Images,
        Person,
        "The image was there when it was last seen, and looks at it fail now; it stays Ready / 上次查看时镜像正常，目前查看失败；仍为 Ready",
        "Do what the message says after the time of the last look / 按消息中上次查看时间之后的提示处理",
    ),
    reason(
        "WriteRefused",
        Both,
        Person,
        "The API server does not let the operator write the object: rights are missing, or a policy is in the way / API server 不允许 Operator 写入该对象：缺少权限，或被策略拦截",
        "Give the operator the right that the message names (the chart's ClusterRole has it), or change the policy; it is tried again / 授予消息中的权限（chart 的 ClusterRole 已包含），或修改策略；会自动重试",
    ),
    reason(
        "StatusRefused",
        Images,
        Person,
        "The API server does not take the operator's status, so that what is shown is from before / API server 拒绝 Operator 写入的 status，当前显示的是之前的状态",
        "Upgrade the CRDs, which are older than the operator, or change the policy that the message names; it is tried again / 升级旧于 Operator 的 CRD，或修改消息中的策略；会自动重试",
    ),
    // What a person decides
    reason(
        "OutcomeUnknown",
        Images,
        Person,
        "The answer to the creating call was lost, and nobody but a person can tell what came of it: the object is Unclear / 创建请求的结果丢失，且无法自动判断：对象处于 Unclear",
        "Look at the vendor's console; then set the annotation cloudimages.dev/outcome to adopt=<id> to take one over, or to resubmit if nothing was made / 查看厂商控制台，再设置注解 cloudimages.dev/outcome：adopt=<id> 接管，或 resubmit 表示未创建、重新提交",
    ),
    reason(
        "Restored",
        Images,
        Person,
        "The object was restored or copied from an earlier one that had asked for an image; nothing is made, and what the earlier one made is listed / 对象由更早的对象恢复或复制而来，那个对象曾发起创建；不会再次创建，并列出其可能的产物",
        "Look at the vendor's console; then name the image in spec.import, or set the annotation cloudimages.dev/outcome to adopt=<id>, or to resubmit to have it made anew / 查看厂商控制台，再在 spec.import 中指定镜像，或设置注解 cloudimages.dev/outcome：adopt=<id> 接管，resubmit 重新创建",
    ),
    reason(
        "InvalidOutcome",
        Images,
        Person,
        "The annotation cloudimages.dev/outcome cannot be used / 注解 cloudimages.dev/outcome 无法使用",
        "Write adopt=<id> with an id that the vendor has, or resubmit / 写成 adopt=<id>（厂商确有该 ID）或 resubmit",
    ),
    // Imports and neighbours
    reason(
        "ImportNotFound",
        Images,
        Person,
        "The vendor has nothing that spec.import names; it is looked for again from time to time / 厂商侧没有 spec.import 指定的资源，会定期重新查找",
        "Correct spec.import, or create the image at the vendor / 修改 spec.import，或在厂商侧创建",
    ),
    reason(
        "ImportAmbiguous",
        Images,
        Person,
        "spec.import.match has several hits, which the message lists / spec.import.match 匹配到多个，见消息",
        "Narrow it down, or give import.id / 缩小匹配范围，或改用 import.id",
    ),
    reason(
        "HeldByOther",
        Images,
        Person,
        "Another object manages this image already / 该镜像已被其他对象管理",
        "Delete the other object with deletionPolicy: Retain first, or set managementPolicy: Observe here / 先以 deletionPolicy: Retain 删除另一对象，或在此设置 managementPolicy: Observe",
    ),
    reason(
        "MadeForOther",
        Images,
        Person,
        "The operator made what is to be taken over for another object, as its mark says, which may live in another cluster / 要接管的资源带有另一对象的标记，该对象可能在其他集群中",
        "Let go of it there (deletionPolicy: Retain), then write that object's uid into spec.import.madeFor, or set managementPolicy: Observe here / 先在原处以 deletionPolicy: Retain 放手，再把该对象的 uid 写入 spec.import.madeFor，或在此设置 managementPolicy: Observe",
    ),
    reason(
        "WaitsForOther",
        Images,
        Nobody,
        "Another object is at work on the same thing, and only one can be at a time / 另一对象正在处理同一资源，同一时间只能有一个",
        "Nothing; it goes on when the other is done / 无需处理，对方完成后自动继续",
    ),
    reason(
        "ContentTooLong",
        Images,
        Person,
        "The steps of a pipeline are longer than the vendor takes when they are written out / 流水线步骤展开后超出厂商上限",
        "Move some of the steps into components, or shorten them / 请将部分步骤移入组件，或精简",
    ),
    reason(
        "ReferenceNotReady",
        Images,
        Nobody,
        "The object that a reference names is missing, has no image yet, is in another region, or is of a kind whose image id does not fit / 引用指向的对象不存在、尚无镜像、位于其他地域，或其镜像 ID 不适用",
        "Wait for it, correct the reference, or give the id itself / 等待其就绪、修改引用，或直接填写 ID",
    ),
    reason(
        "OperatorStarting",
        Images,
        Nobody,
        "The operator has not read all objects yet, and one of them may be at work on the same thing / Operator 尚未读完所有对象，其中可能有对象正在处理同一资源",
        "Nothing; if it stays, the message names what cannot be read / 无需处理；若持续存在，消息会指出无法读取的内容",
    ),
    reason(
        "InvalidObject",
        Images,
        Person,
        "The stored object cannot be read, which an older CRD may have let through / 存储的对象无法解析，可能由旧版 CRD 放行",
        "Correct it as the message says; or delete it and take the finalizer cloudimages.dev/external off, which leaves the vendor's side alone / 按消息修改；或删除对象并移除 finalizer cloudimages.dev/external（厂商侧保持不变）",
    ),
    reason(
        "InternalError",
        Both,
        Person,
        "The operator panicked at work on this object: a bug of the operator's. Nothing else waits for the object / Operator 处理该对象时发生内部错误（程序缺陷），不影响其他对象",
        "Report it with the operator's log, which says where; it is tried again every ten minutes and whenever the object changes / 请附上 Operator 日志提交问题；每 10 分钟以及对象变更时会自动重试",
    ),
    reason(
        "InvalidStatus",
        Images,
        Person,
        "status was changed by hand or restored in part, and leads nowhere / status 被手工修改或只恢复了一部分，无法继续",
        "Correct status as the message says / 按消息修正 status",
    ),
    // Accounts
    reason(
        "Usable",
        Accounts,
        Nobody,
        "Images can use the account / 镜像可以使用该账户",
        "Nothing / 无需处理",
    ),
    reason(
        "InUse",
        Accounts,
        Person,
        "The account is being deleted while objects still use it / 账户正在删除，但仍有对象在使用",
        "Delete those objects first; the message names one / 先删除这些对象，消息中给出其一",
    ),
    reason(
        "InvalidAccount",
        Both,
        Person,
        "The account's spec cannot be used / 账户的 spec 无法使用",
        "Correct it as the message says / 按消息修改",
    ),
    reason(
        "EndpointNotAllowed",
        Both,
        Person,
        "The account names an endpoint that this operator must not call / 账户指定的端点不在 Operator 允许的范围内",
        "Start the operator with a matching --allow-endpoint (chart: allowEndpoints), or correct the endpoint / 以匹配的 --allow-endpoint（chart：allowEndpoints）启动 Operator，或修改端点",
    ),
    reason(
        "SecretNotFound",
        Both,
        Person,
        "The Secret with the credentials does not exist / 凭证 Secret 不存在",
        "Create the Secret that the message names; it is read at once / 创建消息中的 Secret，创建后立即生效",
    ),
    reason(
        "SecretKeyMissing",
        Both,
        Person,
        "The Secret lacks a key, or its value is empty / Secret 缺少键或值为空",
        "Add the key that the message names / 添加消息中的键",
    ),
    reason(
        "SecretKeyInvalid",
        Both,
        Person,
        "A value in the Secret is not what the vendor gave out: quotes, line breaks, a wrong encoding / Secret 中的值与厂商颁发的不符：带引号、换行或编码错误",
        "Write the value of the key that the message names as the vendor shows it / 按厂商显示的原样填写消息中的键",
    ),
    reason(
        "SecretUnreadable",
        Both,
        Person,
        "The Secret could not be read from the API server / 无法从 API server 读取 Secret",
        "Check the operator's rights on that Secret / 检查 Operator 对该 Secret 的权限",
    ),
    reason(
        "AccountNotFound",
        Images,
        Person,
        "The account that accountRef names does not exist, or its namespace is not watched / accountRef 指向的账户不存在，或其命名空间不在监视范围",
        "Create the account, or correct spec.accountRef / 创建账户，或修改 spec.accountRef",
    ),
    reason(
        "AccountNotWatched",
        Images,
        Person,
        "The ClusterCloudAccount's Secret lies in a namespace that this operator does not watch / ClusterCloudAccount 的 Secret 所在命名空间不在 Operator 监视范围",
        "Start the operator with that --namespace too, or use another account / 启动时增加相应的 --namespace，或使用其他账户",
    ),
    reason(
        "AccountDeleting",
        Images,
        Person,
        "The account is being deleted, so nothing new is made with it / 账户正在删除，不再用它创建",
        "Use another account / 使用其他账户",
    ),
    reason(
        "AccountNotHeld",
        Both,
        Person,
        "The operator could not put its finalizer on the account / Operator 无法在账户上添加 finalizer",
        "Nothing if the message names an error of the API server, since it is tried again; else check the operator's right to patch accounts / 若消息所述为 API server 的错误，则无需处理，Operator 会自动重试；否则检查 Operator 对账户的 patch 权限",
    ),
    reason(
        "AccountsNotRead",
        Both,
        Nobody,
        "The accounts, or the Secret of this one, could not be read from the API server yet / 尚未从 API server 读到账户或其 Secret",
        "Nothing; if it stays, check the API server, and the operator's rights to list accounts and to get the Secret / 无需处理；若持续存在，检查 API server，以及 Operator 对账户的 list 权限和对 Secret 的 get 权限",
    ),
    reason(
        "NamespaceNotAllowed",
        Images,
        Person,
        "The ClusterCloudAccount does not allow this namespace / ClusterCloudAccount 不允许此命名空间",
        "Let the account's owner add the namespace to allowedNamespaces, or use another account / 请账户所有者将命名空间加入 allowedNamespaces，或使用其他账户",
    ),
    reason(
        "WrongVendor",
        Images,
        Person,
        "The account is of another vendor than the kind / 账户与该资源类型不属于同一厂商",
        "Name an account of the right vendor in spec.accountRef / 在 spec.accountRef 中指定正确厂商的账户",
    ),
    reason(
        "ProductIdMissing",
        Images,
        Person,
        "Cloud phone images are listed by product, and none is named / 云手机镜像按产品列出，但没有指定产品",
        "Set acep.productId in the account, or forProvider.productId / 在账户中设置 acep.productId，或设置 forProvider.productId",
    ),
    // The vendor's answers
    reason(
        "InvalidSpec",
        Images,
        Person,
        "The vendor refuses a parameter / 厂商拒绝了某个参数",
        "Correct the spec as the message says / 按消息修改 spec",
    ),
    reason(
        "AlreadyExists",
        Images,
        Person,
        "Something of that name exists at the vendor already, and this object did not make it / 厂商侧已有同名资源，且不是本对象创建的",
        "Use another name, or take it over with spec.import; where the message says that nothing was called yet, it goes on by itself when the name is free / 更换名称，或用 spec.import 接管；若消息说明尚未发起调用，名称空闲后会自动继续",
    ),
    reason(
        "TokenReused",
        Images,
        Person,
        "The vendor saw this attempt's token before, with other parameters / 厂商曾收到相同的幂等令牌，但参数不同",
        "Look at the vendor's console for what the earlier call made; if that was nothing, set the annotation reconcile.cloudimages.dev/requested-at: the next attempt has another token / 在厂商控制台查看先前调用创建了什么；若未创建，请设置注解 reconcile.cloudimages.dev/requested-at，下次尝试会使用新的令牌",
    ),
    reason(
        "NotFound",
        Images,
        Person,
        "Something that the spec names does not exist at the vendor / spec 中引用的资源在厂商侧不存在",
        "Create it or correct the spec; it is tried again from time to time / 创建该资源或修改 spec，会定期重试",
    ),
    reason(
        "PermissionDenied",
        Images,
        Person,
        "The credentials are valid and not allowed to make this call / 凭证有效，但没有调用权限",
        "Let the vendor account's administrator allow the call that the message names; it is tried again from time to time / 请厂商账号管理员授权消息中的调用，会定期重试",
    ),
    reason(
        "CredentialsRefused",
        Both,
        Person,
        "The vendor does not accept the credentials / 厂商不接受该凭证",
        "Correct the Secret; a new version is used at once / 修改 Secret，新版本立即生效",
    ),
    reason(
        "ClockSkew",
        Images,
        Person,
        "The operator's clock and the vendor's differ too much / Operator 与厂商的时钟相差过大",
        "Set the node's clock right; for ZStack access keys also check timeZone in the account / 校准节点时钟；使用 ZStack AccessKey 时还应检查账户的 timeZone",
    ),
    reason(
        "QuotaExceeded",
        Images,
        Person,
        "A quota at the vendor is used up / 厂商侧配额已用尽",
        "Make room, or ask the vendor for more; it is tried again from time to time / 清理资源或申请提升配额，会定期重试",
    ),
    reason(
        "Throttled",
        Images,
        Nobody,
        "Too many calls, by the vendor's count or the account's limits; all objects of the account wait / 调用过于频繁（厂商限流或账户 limits），该账户的所有对象都会等待",
        "Nothing; if it stays, ask for a higher limit or set limits in the account / 无需处理；若持续存在，申请更高限额或设置账户的 limits",
    ),
    reason(
        "VendorBusy",
        Images,
        Nobody,
        "Something at the vendor is locked or in a passing state / 厂商侧资源被锁定或处于过渡状态",
        "Nothing; it is tried again / 无需处理，会自动重试",
    ),
    reason(
        "VendorUnavailable",
        Images,
        Nobody,
        "The vendor had a fault of its own / 厂商服务异常",
        "Nothing; it is tried again. If it stays, give the vendor the request id / 无需处理，会自动重试；若持续存在，向厂商提供 request id",
    ),
    reason(
        "VendorRefused",
        Images,
        Person,
        "The vendor refused with a code that no table here has; it is shown as it came / 厂商返回了未收录的错误码，原样显示",
        "Read the vendor's text; it is tried again slowly. Please report the code / 阅读厂商的说明；会缓慢重试。欢迎反馈该错误码",
    ),
    reason(
        "VendorUnreachable",
        Images,
        Nobody,
        "The request could not be sent (name lookup, connection or TLS failed), or a call that only reads had no usable answer / 请求未能发出（域名解析、连接或 TLS 失败），或只读请求没有可用的响应",
        "Check the endpoint, NetworkPolicy, proxy and certificates; it is tried again / 检查端点、NetworkPolicy、代理和证书；会自动重试",
    ),
    reason(
        "AnswerLost",
        Images,
        Nobody,
        "A request was sent and no answer came that can be trusted; what became of it is looked for / 请求已发出但没有可信的响应，正在查证结果",
        "Nothing; nothing is made twice meanwhile / 无需处理，期间不会重复创建",
    ),
    reason(
        "Drifted",
        Images,
        Nobody,
        "The image is there and differs from the spec, and is left as it is, since managementPolicy is Observe or driftPolicy Report; the message says field by field what the spec would change / 镜像存在但与 spec 不一致；因 managementPolicy 为 Observe 或 driftPolicy 为 Report 而保持原样，消息逐字段列出差异",
        "Nothing, or change the spec; driftPolicy: Correct and managementPolicy: Managed set it right / 无需处理，或修改 spec；设置 driftPolicy: Correct 与 managementPolicy: Managed 会按 spec 改回",
    ),
    reason(
        "TakenOver",
        Images,
        Nobody,
        "An image that import names is taken over and differs from the spec; it is changed at the next look, and the message says what from what to what / import 指定的镜像已被接管且与 spec 不一致，下次查看时修改，消息列出修改前后的值",
        "Nothing; to keep it as it is, set driftPolicy: Report or managementPolicy: Observe / 无需处理；若要保持原样，请设置 driftPolicy: Report 或 managementPolicy: Observe",
    ),
    // Events
    reason(
        "Updated",
        Events,
        Nobody,
        "What the spec asks for now was set at the vendor; the message says what changed from what to what / 已按 spec 在厂商侧完成修改，消息列出修改前后的值",
        "Nothing / 无需处理",
    ),
    reason(
        "DriftCorrected",
        Events,
        Nobody,
        "Somebody else had changed the image at the vendor, and it was set right; the message says what changed from what to what / 厂商侧的镜像被他人修改，已按 spec 改回，消息列出修改前后的值",
        "Change the spec instead, or find out who sets it; tags that the spec does not name are left alone / 请改 spec，或查明是谁在修改；spec 未列出的标签不受影响",
    ),
    reason(
        "CopyCreated",
        Events,
        Nobody,
        "An ImageDistribution made the AliyunImageCopies that the message names / ImageDistribution 创建了消息中的 AliyunImageCopy",
        "Nothing / 无需处理",
    ),
    reason(
        "CopyChanged",
        Events,
        Nobody,
        "An ImageDistribution set the AliyunImageCopies that the message names as its spec says, since that or they were changed / ImageDistribution 的 spec 或消息中的 AliyunImageCopy 被修改，后者已按 spec 设置",
        "Change the spec of the ImageDistribution, not its copies / 请修改 ImageDistribution 的 spec，而不是其副本",
    ),
    reason(
        "CopyDeleted",
        Events,
        Nobody,
        "An ImageDistribution deleted the AliyunImageCopies that the message names: their regions were taken out, or it goes itself / ImageDistribution 删除了消息中的 AliyunImageCopy：其地域被移除，或对象正在删除",
        "Nothing / 无需处理",
    ),
    reason(
        "Released",
        Events,
        Nobody,
        "The object let go of what the message names: it is deleted at the vendor, or stays there as deletionPolicy Retain asks / 对象已释放消息中的资源：厂商侧已删除，或按 deletionPolicy Retain 保留",
        "Nothing / 无需处理",
    ),
    reason(
        "LateImage",
        Events,
        Nobody,
        "An image that an earlier attempt of this object had made turned up late, no object owns it, and it was deleted / 本对象先前某次尝试创建的镜像迟到出现，无对象拥有它，已被删除",
        "Nothing; if it happens often, raise listDelay in the account / 无需处理；若经常出现，请调大账户的 listDelay",
    ),
];

const fn reason(name: &'static str, of: Of, acts: Acts, means: &'static str, advice: &'static str) -> Reason {
    Reason { name, of, acts, means, advice }
}

/// What the operator does about a refusal of this class, in English and Chinese, with ` / ` in between.
pub const fn response(class: Class) -> &'static str {
    match class {
        Class::Invalid => {
            "stops, until the spec changes or it is asked to try again / 停止，直到 spec 修改或被要求重试"
        }
        Class::Conflict => {
            "looks whether it made what is there: if so takes it, else stops until the spec changes / 查证是否为自己所建：是则采用，否则停止，直到 spec 修改"
        }
        Class::TokenReused => {
            "after a lost answer, looks for what the earlier call made; else stops until it is asked to try again, with another token / 若先前的响应丢失，则查找其结果；否则停止，直到被要求以新的令牌重试"
        }
        Class::NotFound => {
            "waits and tries slowly; when deleting, it is done / 等待并缓慢重试；删除时视为已完成"
        }
        Class::Throttled => "pauses all calls of the account, then goes on / 暂停该账户的调用，随后继续",
        Class::Quota => "waits and tries slowly / 等待并缓慢重试",
        Class::Busy => "waits and tries again / 等待并重试",
        Class::Permission => "waits and tries slowly / 等待并缓慢重试",
        Class::Credentials => "waits for a new Secret, and tries slowly / 等待新的 Secret，并缓慢重试",
        Class::ClockSkew => "waits and tries slowly / 等待并缓慢重试",
        Class::Unavailable => {
            "reads again; after a creating call, looks what became of it / 重新读取；若为创建调用，则查证结果"
        }
        Class::Unlisted => "shows it as it came, and tries slowly / 原样显示，并缓慢重试",
    }
}
