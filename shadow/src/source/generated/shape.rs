//! The shapes that blocks are made of: small groups of transactions with a point.

/// A group of transactions that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Somebody pays one of the few that everybody pays.
    HotReceiver,
    /// One of the few that always send pays somebody.
    HotSender,
    /// One sender, several transactions in a row.
    SenderChain,
    /// Who receives spends at once.
    Relay,
    /// Two accounts pay each other so that one, or both, have in the end what they had.
    ThereAndBack,
    /// Three accounts pay each other in a circle, and all have in the end what they had.
    Ring,
    /// Several outputs, some to the same destination, one of nothing.
    ManyOutputs,
    /// Many outputs, up to 255, to one destination.
    ManyToOne,
    /// Nothing is paid, and a version is written all the same.
    ZeroAmount,
    /// The second or the third asset.
    OtherAsset,
    /// All three assets in one transaction.
    MixedAssets,
    /// Any asset.
    Burn,
    /// About 2^53, where numbers of other languages lose their units.
    LargeAmount,
    /// About 2^64, nearly all that a balance can hold.
    HugeAmount,
    SetMultisig,
    /// Set twice in one block.
    ReplaceMultisig,
    /// Set and deleted in one block.
    DeleteMultisig,
    /// What an earlier block set is deleted.
    DeleteEarlierMultisig,
    /// Set, deleted and set again in one block.
    SetMultisigAgain,
    /// The account spends in the block that configures it, its participants' signatures attached.
    SpendWithMultisig,
    NewAccount,
    /// Two pay the same new account.
    NewAccountOfTwo,
    /// It exists because nothing was sent to it.
    NewAccountOfNothing,
    /// The block's own miner spends its reward.
    MinerSpends,
    DevSpends,
    MinerPaysDev,
    DevPaysMiner,
    /// Somebody pays the block's miner and the dev key.
    MinerAndDevReceive,
    /// A nonce that was just used.
    NonceReplay,
    /// A nonce that was used before the block.
    NonceOfEarlierBlock,
    /// A nonce too high, then the one that was left out.
    NonceGap,
    /// A nonce that never comes.
    NonceLeftOut,
    /// Three nonces, the last one first.
    NonceReversed,
    /// The first output goes to an account that cannot hold more.
    OverflowFirst,
    /// A later output does, after others were credited.
    OverflowLater,
}
