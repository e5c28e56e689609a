//! What a node is asked while its chain is followed.
//!
//! One list, for those who ask and for those who count: a metric has a label for each of these, and what is
//! not in the list has none.

macro_rules! methods {
    ($($constant:ident = $name:literal;)*) => {
        $(pub(crate) const $constant: &str = $name;)*

        /// The names of all of them.
        pub(crate) const METHODS: &[&str] = &[$($name),*];
    };
}

methods! {
    BATCH = "batch";
    SUBSCRIBE = "subscribe";
    INFO = "get_info";
    TOP = "get_topoheight";
    STABLE = "get_stable_topoheight";
    ORDER = "get_dag_order";
    BLOCK = "get_block_at_topoheight";
    HEADERS = "get_blocks_range_by_topoheight";
    NONCE = "get_nonce";
    NONCE_AT = "get_nonce_at_topoheight";
    BALANCE = "get_balance";
    BALANCE_AT = "get_balance_at_topoheight";
    MULTISIG = "get_multisig";
    MULTISIG_AT = "get_multisig_at_topoheight";
    EXECUTED = "is_tx_executed_in_block";
    EXECUTOR = "get_transaction_executor";
    CONTRACT_OUTPUTS = "get_contract_outputs";
}
