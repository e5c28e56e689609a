#!/usr/bin/env python3
"""A complete candidate in Python, without anything but the standard library.

It speaks version 1 of the candidate protocol: one JSON object a line on standard input and output.
It executes by the rules `tos-v3` in batches that are free of conflicts, each over several threads.

Put it under test:

    shadow soak --candidate "external:python3 shadow/examples/candidate.py"
"""

import json
import queue
import random
import sys
import threading

PROTOCOL = 1
RULES = "tos-v3"
MAX = 2**64 - 1


class Refused(Exception):
    """The whole block cannot be executed: a node would not have accepted it."""


class Overflow(Exception):
    """A credit would go past 2^64-1."""


# The rules


class NonceWindow:
    """The nonces that one account may use within a block: gaps are allowed, repetition is not."""

    def __init__(self, initial):
        self.initial = initial
        self.expected = initial
        self.used = []

    def use(self, nonce):
        if nonce < self.initial or nonce == MAX or nonce in self.used:
            return False
        self.used.append(nonce)
        self.expected = max(self.expected, nonce + 1)
        return True

    def undo(self, nonce):
        """A failed transaction gives its nonce back; what is expected follows the last one used."""
        self.used.remove(nonce)
        self.expected = self.used[-1] + 1 if self.used else self.initial


class Balance:
    """What was there and came in, and what is spent: taken at the end, all at once."""

    def __init__(self, amount):
        self.amount = amount
        self.spent = 0
        self.credited = False
        self.debited = False

    def credit(self, amount):
        if self.amount + amount > MAX:
            raise Overflow
        self.amount += amount
        self.credited = True

    def debit(self, amount):
        self.spent = min(self.spent + amount, MAX)
        self.debited = True

    def after(self):
        return (self.amount - self.spent) % 2**64


class Account:
    """An account within a block."""

    def __init__(self, before):
        self.before = before
        self.window = None
        self.nonce = None
        self.balances = {}
        self.multisig = []

    def balance(self, asset):
        if asset not in self.balances:
            self.balances[asset] = Balance(self.before.get(("balance", asset), 0))
        return self.balances[asset]

    def writes(self, address):
        credited = any(balance.credited for balance in self.balances.values())
        nonce = self.nonce
        if nonce is None and credited and "nonce" not in self.before:
            nonce = 0
        if nonce is not None:
            yield {"key": "nonce", "account": address, "value": nonce}
        for asset, balance in self.balances.items():
            if balance.credited or balance.debited:
                yield {
                    "key": "balance",
                    "account": address,
                    "asset": asset,
                    "value": balance.after(),
                }
        for config in self.multisig[-1:]:
            yield {"key": "multisig", "account": address, "value": config}
        if credited and "registered" not in self.before:
            yield {"key": "registered", "account": address, "value": True}


def accounts_of(transaction):
    """The accounts that a transaction touches."""
    transfers = transaction["data"].get("transfers", [])
    return {transaction["source"], *(transfer["destination"] for transfer in transfers)}


def execute_transaction(transaction, accounts, native):
    """Executes one transaction; returns its outcome and how many native units it burned."""
    source = accounts[transaction["source"]]
    nonce, fee, data = transaction["nonce"], transaction["fee"], transaction["data"]
    if source.window is None:
        if "nonce" not in source.before:
            raise Refused(f"the source of transaction {transaction['hash']} has no nonce")
        source.window = NonceWindow(source.before["nonce"])
    if not source.window.use(nonce):
        return outcome(transaction, "skipped", "nonce"), 0

    burned = 0
    source.nonce = nonce + 1
    source.balance(native).debit(fee)
    if "transfers" in data:
        for transfer in data["transfers"]:
            source.balance(transfer["asset"]).debit(transfer["amount"])
        try:
            for transfer in data["transfers"]:
                destination = accounts[transfer["destination"]]
                destination.balance(transfer["asset"]).credit(transfer["amount"])
        except Overflow:
            # What was done before stays: the nonce, all debits, the credits made so far.
            source.window.undo(nonce)
            return outcome(transaction, "failed", "credit_overflow"), 0
    elif "burn" in data:
        burn = data["burn"]
        source.balance(burn["asset"]).debit(burn["amount"])
        burned = burn["amount"] if burn["asset"] == native else 0
    elif "multi_sig" in data:
        config = data["multi_sig"]
        source.multisig.append(config if config["threshold"] > 0 else None)
    else:
        raise Refused(f"transaction {transaction['hash']} is of a kind that is not known")
    # The highest expected nonce stays, also behind one that came out of order.
    source.nonce = source.window.expected
    return outcome(transaction, "executed"), burned


def outcome(transaction, status, reason=None):
    fee = transaction["fee"] if status == "executed" else 0
    told = {"hash": transaction["hash"], "status": status, "fee": fee}
    return told if reason is None else {**told, "reason": reason}


# The engine


class Pool:
    """Threads that each run one lane of a batch: no thread can run two lanes of the same one."""

    def __init__(self):
        self.lanes = []
        self.results = queue.SimpleQueue()

    def run(self, work, chunks):
        """Runs `work` on every chunk at the same time and returns what came out."""
        while len(self.lanes) < len(chunks):
            lane = queue.SimpleQueue()
            threading.Thread(target=self.serve, args=(lane,), daemon=True).start()
            self.lanes.append(lane)
        for lane, chunk in zip(self.lanes, chunks):
            lane.put((work, chunk))
        results = [self.results.get() for _ in chunks]
        for result in results:
            if isinstance(result, Exception):
                raise result
        return results

    def serve(self, lane):
        while True:
            work, chunk = lane.get()
            try:
                self.results.put(work(chunk))
            except Exception as error:
                self.results.put(error)


def conflict_free_batches(transactions):
    """Batches in which no account is touched twice; of two that conflict the earlier comes first."""
    batches, next_batch = [], {}
    for transaction in transactions:
        touched = accounts_of(transaction)
        place = max(next_batch.get(account, 0) for account in touched)
        for account in touched:
            next_batch[account] = place + 1
        if place == len(batches):
            batches.append([])
        batches[place].append(transaction)
    return batches


class Executor:
    def __init__(self, native):
        self.native = native
        self.pool = Pool()

    def execute_block(self, params):
        block, schedule = params["block"], params["schedule"]
        native, transactions = self.native, block["transactions"]
        accounts = self.load(block, params["pre_state"])

        # The reward comes first, so a miner may spend it in its own block.
        self.pay(accounts[block["dev"]], block["dev_reward"])
        self.pay(accounts[block["miner"]], block["miner_reward"])

        def lane(chunk):
            return [execute_transaction(transaction, accounts, native) for transaction in chunk]

        outcomes = [
            outcome(transaction, "skipped", "already_executed")
            for transaction in transactions
            if transaction["already_executed"]
        ]
        burned, max_in_flight = 0, 0
        batches = conflict_free_batches(
            [transaction for transaction in transactions if not transaction["already_executed"]]
        )
        shuffle = random.Random(schedule["seed"]).shuffle
        workers = max(schedule["workers"], 1)
        for batch in batches:
            if schedule["seed"] != 0:
                shuffle(batch)
            size = -(-len(batch) // workers)
            chunks = [batch[start : start + size] for start in range(0, len(batch), size)]
            lanes = self.pool.run(lane, chunks)
            busy = 0
            for told in lanes:
                busy += any(result["status"] == "executed" for result, _ in told)
                outcomes += [result for result, _ in told]
                burned += sum(units for _, units in told)
            max_in_flight = max(max_in_flight, busy)

        # The fees come last: a miner cannot spend them in its own block.
        fees = sum(result["fee"] for result in outcomes)
        if fees > MAX or burned > MAX:
            raise Refused("the block's fees or burned units exceed 2^64-1")
        self.pay(accounts[block["miner"]], fees)

        return {
            "outcomes": outcomes,
            "writes": [
                write for address, account in accounts.items() for write in account.writes(address)
            ],
            "totals": {
                "fees": fees,
                "burned": burned,
                "miner_reward": block["miner_reward"],
                "dev_reward": block["dev_reward"],
            },
            "exercise": {
                "workers": schedule["workers"],
                "batches": len(batches),
                "max_in_flight": max_in_flight,
                "fallback": None,
            },
        }

    def load(self, block, pre_state):
        """All accounts that the block can touch, so that no two lanes ever make one."""
        before = {}
        for entry in pre_state:
            key, address = entry["key"], entry["account"]
            place = (key, entry["asset"]) if key == "balance" else key
            if entry["value"] is not None:
                before.setdefault(address, {})[place] = entry["value"]
        named = {block["miner"], block["dev"]}
        for transaction in block["transactions"]:
            named |= accounts_of(transaction)
        return {address: Account(before.get(address, {})) for address in named}

    def pay(self, account, amount):
        try:
            account.balance(self.native).credit(amount)
        except Overflow:
            raise Refused("reward and fees exceed 2^64-1") from None


# The protocol


class Candidate:
    def __init__(self):
        self.executor = None

    def initialize(self, params):
        if params["protocol"] != PROTOCOL or params["rules"] != RULES:
            raise Refused(f"only protocol {PROTOCOL} with rules {RULES} is spoken here")
        self.executor = Executor(params["native_asset"])
        return {"protocol": PROTOCOL, "name": "python-example", "version": "1"}

    def execute_block(self, params):
        if self.executor is None:
            raise Refused("initialize comes first")
        return self.executor.execute_block(params)

    def answer(self, request):
        """The answer to a request; none to the one that asks to end."""
        answer = {"jsonrpc": "2.0", "id": request["id"]}
        try:
            if request["method"] == "shutdown":
                return None
            if request["method"] == "initialize":
                return {**answer, "result": self.initialize(request["params"])}
            if request["method"] == "execute_block":
                return {**answer, "result": self.execute_block(request["params"])}
            error = {"code": -32601, "message": f"there is no method {request['method']}"}
        except Refused as refused:
            error = {"code": -32000, "message": str(refused)}
        return {**answer, "error": error}


def main():
    candidate = Candidate()
    for line in sys.stdin:
        answer = candidate.answer(json.loads(line))
        if answer is None:
            return
        # Standard output carries answers and nothing else; a log goes to standard error.
        sys.stdout.write(json.dumps(answer, separators=(",", ":")) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
