//! `session wallet`: what an account has, pays, asks for and was paid.

use alloy::primitives::{Address, B256, U256};
use indicatif::ProgressBar;
use serde_json::{Map, Value, json};
use session_chain::{
    Amount, account as chain_account,
    account::PrivateKeySigner,
    network::Settlement,
    settlement::{
        Delivery, SendError, Wallet, WalletError,
        wallet::{Payment, Standing, Sum, payment::check},
    },
};
use session_client::{
    Account,
    envelope::{self, Draft, money},
    home::Home,
};
use session_protocols::{
    AccountId,
    names::{Kind, value},
};
use session_testnet::{FUND_ETHER, Testnet};

use crate::{
    Context, account,
    args::{self, Money, Pay, Price},
    failure::{Exit, Failure, chain},
    network::{self, Access},
    recipient::{Follow, Recipient},
    sending,
    stake::lower,
    testnet, text,
};

mod messages;

pub(crate) use messages::{Cashier, Said, said};

pub(crate) async fn run(context: &Context, arguments: args::Wallet) -> Result<(), Failure> {
    let args::Wallet { account: named, deed } = arguments;
    if matches!(deed, Money::Import) {
        return account::import_key(context, named.as_deref());
    }
    let home = context.home()?;
    let (name, id) = account::choose(&home, named.as_deref())?;
    let (signer, _) = account::signer(&home, &name, &id)?;
    let address = signer.address();
    if matches!(deed, Money::Address { tell: None, .. }) {
        let data = json!({ "name": name, "address": lower(address) });
        return context.output.data(&data, || format!("{name}\n  address  {address}"));
    }
    let network = network::described(context)?;
    let settlement = sending::settlement(&network)?.clone();
    let poll = sending::poll(&network);
    let till = Till { context, home, name, id, signer, settlement };
    match deed {
        Money::Address { tell, follow } => till.tell_address(&tell.unwrap_or_default(), follow).await,
        Money::Balance => till.balance().await,
        Money::Send(pay) => till.send(pay, Delivery { poll, ..Delivery::default() }).await,
        Money::Request { price, from, follow } => till.request(&price, &from, follow).await,
        Money::History { most } => till.history(most.into()).await,
        Money::Faucet { sesh } => till.faucet(network.local, sesh).await,
        Money::Import => Ok(()),
    }
}

/// Whom somebody wants to pay.
enum Payee {
    /// Whoever has the key of an address.
    Address(Address),
    /// Somebody who can be written to, or whoever has a name.
    Somebody(Recipient),
}

/// One account's money, and whom to tell.
struct Till<'a> {
    context: &'a Context,
    home: Home,
    name: String,
    id: AccountId,
    signer: PrivateKeySigner,
    settlement: Settlement,
}

impl Till<'_> {
    async fn balance(&self) -> Result<(), Failure> {
        let balances = self.wallet(Delivery::default()).await?.balances().await?;
        let (sesh, native) = (Sum::Sesh(balances.sesh), Sum::Native(balances.native));
        let address = self.signer.address();
        let data = json!({ "address": lower(address), "sesh": sesh.number(), "native": native.number() });
        self.context.output.data(&data, || {
            format!("{}\n  address  {address}\n  has      {sesh}\n           {native}", self.name)
        })
    }

    async fn history(&self, most: usize) -> Result<(), Failure> {
        let history = self.wallet(Delivery::default()).await?.history(most).await?;
        let own = self.signer.address();
        let direction = |from: Address, to: Address| match (from == own, to == own) {
            (true, true) => "self",
            (true, false) => "out",
            (false, _) => "in",
        };
        let state = |is_final| if is_final { "final" } else { "pending" };
        let transfers: Vec<Value> = history
            .transfers
            .iter()
            .map(|it| {
                json!({
                    "transaction": it.transaction.to_string(), "height": it.height, "time": it.time,
                    "direction": direction(it.from, it.to), "from": lower(it.from), "to": lower(it.to),
                    "amount": it.amount.to_string(), "state": state(it.is_final),
                })
            })
            .collect();
        let data = json!({ "address": lower(own), "transfers": transfers, "more": history.more });
        self.context.output.data(&data, || {
            if history.transfers.is_empty() {
                return "no payments of SESH so far".to_owned();
            }
            let rows: Vec<_> = history
                .transfers
                .iter()
                .map(|it| {
                    let direction = direction(it.from, it.to);
                    let other = if direction == "in" { it.from } else { it.to };
                    [
                        it.time.map_or_else(|| "-".to_owned(), |time| text::time(time.saturating_mul(1_000))),
                        direction.to_owned(),
                        it.amount.to_string(),
                        other.to_string(),
                        state(it.is_final).to_owned(),
                        it.height.map_or_else(|| "-".to_owned(), |height| height.to_string()),
                        it.transaction.to_string(),
                    ]
                })
                .collect();
            let head = ["TIME", "WAY", "SESH", "WITH", "STATE", "BLOCK", "TRANSACTION"];
            let more = if history.more { "and older ones: session wallet history --most N\n" } else { "" };
            text::table(head, &rows) + more
        })
    }

    async fn faucet(&self, local: bool, sesh: Amount) -> Result<(), Failure> {
        let none = |message: &str| {
            let remedy = "have somebody pay you, at the address that session wallet address shows";
            Failure::new(Exit::Refused, "no_faucet", message, remedy)
        };
        if !local {
            return Err(none("this network has no faucet: its money is worth something"));
        }
        let folder = network::local_folder()?;
        let own = folder.network()?.settlement.is_some_and(|own| own.contracts == self.settlement.contracts);
        if !own {
            return Err(none(
                "this network is not the testnet of this machine, whose faucet alone is known here",
            ));
        }
        let address = self.signer.address();
        Testnet::new(folder, testnet::binary()?).fund(address, sesh).await?;
        let data =
            json!({ "address": lower(address), "sesh": sesh.to_string(), "native": FUND_ETHER.to_string() });
        self.context.output.data(&data, || format!("{address} was given {sesh} SESH and {FUND_ETHER} ETH"))
    }

    async fn tell_address(&self, to: &str, follow: bool) -> Result<(), Failure> {
        let (sender, access) = (self.home.account(&self.name)?, Access::open(self.context).await?);
        let whom = self.person(&access, to, follow).await?;
        let address = self.signer.address();
        let words = format!("Pay me at {address}");
        let draft = Draft { text: &words, money: Some(money::Money::Wallet), wallet: Some(self.profile()?) };
        let sent = access.client.send(&sender, &whom, draft).await.map_err(|error| access.failed(error))?;
        let data = json!({
            "name": self.name, "address": lower(address), "told": whom, "hash": sent.hash.to_string(),
        });
        let shown = text::plain(to);
        self.context.output.data(&data, || format!("{shown} was told that you are paid at {address}"))
    }

    async fn request(&self, price: &Price, from: &str, follow: bool) -> Result<(), Failure> {
        let sum = sum(price)?;
        let (sender, access) = (self.home.account(&self.name)?, Access::open(self.context).await?);
        let whom = self.person(&access, from, follow).await?;
        let words =
            with_note(format!("Please pay me {sum}, at {}", self.signer.address()), price.note.as_deref());
        let request = money::Money::Request { sum: self.in_words(sum)?, note: price.note.clone() };
        let draft = Draft { text: &words, money: Some(request), wallet: Some(self.profile()?) };
        let sent = access.client.send(&sender, &whom, draft).await.map_err(|error| access.failed(error))?;
        let mut data = amount(sum);
        data.insert("from".to_owned(), json!(whom));
        data.insert("hash".to_owned(), json!(sent.hash.to_string()));
        let shown = text::plain(from);
        self.context.output.data(&data, || format!("{shown} was asked for {sum}"))
    }

    async fn send(&self, pay: Pay, delivery: Delivery) -> Result<(), Failure> {
        let sum = sum(&pay.price)?;
        let note = pay.price.note.as_deref();
        if note.is_some_and(|note| note.len() > money::MAX_NOTE) {
            let most = money::MAX_NOTE;
            return Err(Failure::usage(
                format!("a note has {most} bytes at most"),
                "write the rest as a message",
            ));
        }
        let (person, to, access) = match self.payee(&pay.to)? {
            Payee::Address(to) => (None, to, None),
            Payee::Somebody(recipient) => {
                // Before anything is paid: whoever cannot be told is not paid either.
                let access = Access::open(self.context).await?;
                let (person, to) = self.found(&access, recipient, &pay).await?;
                (person, to, Some(access))
            }
        };
        let told = person.zip(access.as_ref());
        if let Some(transaction) = pay.paid {
            let Some((id, access)) = told else {
                let remedy = "name whom you paid by a contact's name or an account id";
                return Err(Failure::usage("nobody can be written to at a bare address", remedy));
            };
            self.check_paid(transaction, to, sum).await?;
            self.tell(access, &id, sum, transaction, note).await?;
            let mut data = amount(sum);
            data.insert("transaction".to_owned(), json!(transaction.to_string()));
            data.insert("told".to_owned(), json!(true));
            return self.context.output.data(&data, || {
                format!("{} was told of transaction {transaction}; nothing was paid", text::plain(&pay.to))
            });
        }
        let paid = self.pay(&pay, to, sum, delivery).await?;
        let mut data = amount(sum);
        data.insert("to".to_owned(), json!(lower(to)));
        data.insert("transaction".to_owned(), json!(paid.transaction.to_string()));
        data.insert("height".to_owned(), json!(paid.height));
        data.insert("cost".to_owned(), json!(paid.fee.number()));
        let mut last = String::new();
        if let Some((id, access)) = told {
            self.home.keep_agreed(&id, to.into_array())?;
            data.insert("account".to_owned(), json!(id));
            let told = self.tell(access, &id, sum, paid.transaction, note).await;
            data.insert("told".to_owned(), json!(told.is_ok()));
            if let Err(failure) = told {
                // No failure: whoever repeats what failed would pay twice.
                let remedy = self.tell_again(&pay, paid.transaction);
                self.context.output.warn(&format!(
                    "it is paid, and {} was not told: {}\n  fix: without paying again: {remedy}",
                    text::plain(&pay.to),
                    failure.message
                ));
                data.insert("remedy".to_owned(), json!(remedy));
            } else {
                last = format!("\n  told         {}", text::plain(&pay.to));
            }
        }
        self.context.output.data(&data, || {
            format!(
                "paid {sum} to {to}\n  transaction  {}\n  block        {}\n  cost         {}{last}",
                paid.transaction, paid.height, paid.fee
            )
        })
    }

    /// Who is to be paid, if it is known whom to tell of it, and where: as their name says, or else as they signed.
    async fn found(
        &self,
        access: &Access,
        recipient: Recipient,
        pay: &Pay,
    ) -> Result<(Option<AccountId>, Address), Failure> {
        let named = match recipient {
            Recipient::Account(id) => return Ok((Some(id), self.address_of(access, &id, None, pay).await?)),
            Recipient::Named(named) => named,
        };
        let follow = Follow { agreed: pay.new_address, by: "--new-address" };
        let (account, wallet) = named.paid(self.context, &self.home, access, follow).await?;
        let wallet = wallet.map(|value::Wallet(address)| Address::from(address));
        match (account, wallet) {
            (Some(id), wallet) => Ok((Some(id), self.address_of(access, &id, wallet, pay).await?)),
            (None, Some(wallet)) => Ok((None, wallet)),
            (None, None) => Err(access.failed(named.without(Kind::Wallet))),
        }
    }

    /// The address at which somebody is to be paid: the one that their name says, or that they signed for, and else
    /// they are asked.
    async fn address_of(
        &self,
        access: &Access,
        id: &AccountId,
        named: Option<Address>,
        pay: &Pay,
    ) -> Result<Address, Failure> {
        // The keys of all accounts here are known without asking.
        if let Some((name, _)) = self.home.accounts()?.into_iter().find(|(_, own)| own == id) {
            let own = account::signer(&self.home, &name, id)?.0.address();
            return self.agreed(named.unwrap_or(own), own, None, pay);
        }
        let own = self.home.account(&self.name)?;
        let items = access.client.inbox(&own).await.map_err(|error| access.failed(error))?;
        messages::learn(&self.home, &items)?;
        let shown = text::plain(&pay.to);
        let Some(at) = self.home.paid_at(id)? else {
            if let Some(named) = named {
                return Ok(named);
            }
            let draft = Draft {
                text: "I want to pay you: at which address? Answer with: session wallet address --tell ME",
                money: Some(money::Money::WalletWanted),
                wallet: None,
            };
            access.client.send(&own, id, draft).await.map_err(|error| access.failed(error))?;
            return Err(Failure::new(
                Exit::NotReady,
                "asked",
                format!(
                    "{shown} has never signed for an address, and was asked for one by message; nothing is paid"
                ),
                "repeat it when the answer is here: session inbox shows it",
            ));
        };
        let said = Address::from(at.said);
        self.agreed(named.unwrap_or(said), said, at.agreed.map(Address::from), pay)
    }

    /// An address, if it is the one that its owner signed for and that was paid before, as far as these are known;
    /// another is paid only by who agrees to it.
    fn agreed(
        &self,
        to: Address,
        signed: Address,
        before: Option<Address>,
        pay: &Pay,
    ) -> Result<Address, Failure> {
        let shown = text::plain(&pay.to);
        if pay.new_address {
            return Ok(to);
        }
        if to != signed {
            return Err(Failure::new(
                Exit::Refused,
                "stale_address",
                format!(
                    "the name {shown} says to be paid at {to}, and the account that it leads to says at {signed}; \
                     nothing is paid"
                ),
                format!(
                    "ask them by other means which of the two is right: to pay the first add --new-address, to pay \
                     the second give {signed} in place of {shown}"
                ),
            ));
        }
        match before.filter(|before| *before != to) {
            None => Ok(to),
            Some(before) => Err(Failure::new(
                Exit::Refused,
                "address_changed",
                format!("{shown} was paid at {before} and says now to be paid at {to}; nothing is paid"),
                "ask them by other means whether that is so, then add --new-address",
            )),
        }
    }

    /// Tells what it costs, asks, and pays.
    async fn pay(&self, pay: &Pay, to: Address, sum: Sum, delivery: Delivery) -> Result<Paid, Failure> {
        let mut wallet = self.wallet(delivery).await?;
        let waiting = wallet.waiting().await?;
        if waiting > 0 {
            self.context.output.warn(&format!(
                "{waiting} transactions of {} are on their way: look at session wallet history before you pay twice",
                self.name
            ));
        }
        let call = wallet.transfer(to, sum)?;
        let quote = wallet.quote(&call).await?;
        let name = text::plain(&pay.to);
        let whom = if name.eq_ignore_ascii_case(&to.to_string()) { name } else { format!("{name} ({to})") };
        let what = format!("pay {sum} to {whom}");
        sending::tell_cost(self.context, &what, &self.name, wallet.address(), &quote.to_string());
        if !pay.sending.yes {
            sending::agree(self.context, &what, &quote.to_string())?;
        }
        let bar = ProgressBar::new_spinner();
        let sent = wallet.send_at(&call, &quote, |progress| sending::show(&bar, progress)).await;
        bar.finish_and_clear();
        let receipt = sent.map_err(|error| self.unsure(error, pay))?;
        let fee = U256::from(receipt.gas_used).saturating_mul(U256::from(receipt.effective_gas_price));
        let (transaction, height) = (receipt.transaction_hash, receipt.block_number.unwrap_or_default());
        Ok(Paid { transaction, height, fee: Sum::Native(fee) })
    }

    /// The failure that an error amounts to: where it may be paid, how to go on without paying twice.
    fn unsure(&self, error: WalletError, pay: &Pay) -> Failure {
        let hash = match &error {
            WalletError::Send(SendError::Unmined { hash, .. } | SendError::Unanswered { hash, .. }) => {
                Some(*hash)
            }
            _ => None,
        };
        let mut failure = Failure::from(error);
        if let Some(hash) = hash {
            failure.remedy = format!(
                "do not pay again before session wallet history shows what became of it; once it is there: {}",
                self.tell_again(pay, hash)
            );
        }
        failure
    }

    /// The command that tells somebody of a payment, and pays nothing.
    fn tell_again(&self, pay: &Pay, transaction: B256) -> String {
        let native = if pay.price.is_native() { " --native" } else { "" };
        let (amount, to) = (pay.price.amount(), text::plain(&pay.to));
        format!("session wallet send {amount} {to}{native} --account {} --paid {transaction}", self.name)
    }

    /// Tells somebody of a payment.
    async fn tell(
        &self,
        access: &Access,
        id: &AccountId,
        sum: Sum,
        transaction: B256,
        note: Option<&str>,
    ) -> Result<(), Failure> {
        let sender: Account = self.home.account(&self.name)?;
        let chain = self.settlement.chain;
        let words = with_note(format!("Paid you {sum}: transaction {transaction} on chain {chain}"), note);
        let payment = envelope::Payment {
            sum: self.in_words(sum)?,
            transaction: transaction.0,
            note: note.map(ToOwned::to_owned),
        };
        let money = Some(money::Money::Payment(payment));
        let draft = Draft { text: &words, money, wallet: Some(self.profile()?) };
        access.client.send(&sender, id, draft).await.map(drop).map_err(|error| access.failed(error))
    }

    /// Refuses to tell of a payment that was not made.
    async fn check_paid(&self, transaction: B256, to: Address, sum: Sum) -> Result<(), Failure> {
        let payment = Payment { transaction, from: self.signer.address(), to, sum };
        let standing = check(&self.settlement, &payment).await?;
        match standing {
            Standing::Paid { .. } | Standing::Pending { .. } => Ok(()),
            Standing::Short { .. } | Standing::Failed | Standing::Unknown => Err(Failure::new(
                Exit::Failed,
                "not_paid",
                format!("transaction {transaction} does not pay {sum} to {to}: {}", messages::why(&standing)),
                "look at session wallet history; without --paid it is paid",
            )),
        }
    }

    /// Whom a text means: an address, or what it means to who sends a message.
    fn payee(&self, text: &str) -> Result<Payee, Failure> {
        let Ok(address) = text.parse::<Address>() else {
            return Ok(Payee::Somebody(Recipient::read(self.context, &self.home, text)?));
        };
        // An address of mixed case carries a checksum.
        let digits = text.trim_start_matches("0x");
        let mixed =
            digits.chars().any(|c| c.is_ascii_lowercase()) && digits.chars().any(|c| c.is_ascii_uppercase());
        if mixed && Address::parse_checksummed(format!("0x{digits}"), None).is_err() {
            let remedy = "copy it once more, from where it was shown";
            return Err(Failure::usage(
                format!("the address {text} has a wrong digit: its checksum fails"),
                remedy,
            ));
        }
        Ok(Payee::Address(address))
    }

    /// Whom a text means who can be written to.
    async fn person(&self, access: &Access, text: &str, follow: bool) -> Result<AccountId, Failure> {
        let whom = Recipient::read(self.context, &self.home, text)?;
        whom.account(self.context, &self.home, access, Follow::by_flag(follow)).await
    }

    async fn wallet(&self, delivery: Delivery) -> Result<Wallet, Failure> {
        Ok(Wallet::connect(&self.settlement, self.signer.clone(), delivery).await?)
    }

    /// Where this account is paid, signed for.
    fn profile(&self) -> Result<envelope::Wallet, Failure> {
        let proof = chain_account::prove(&self.signer, &self.id);
        let proof = proof.map_err(|error| Failure::from(WalletError::from(SendError::from(error))))?;
        Ok(envelope::Wallet { address: self.signer.address().into_array(), proof })
    }

    /// A sum as messages name it.
    fn in_words(&self, sum: Sum) -> Result<envelope::Sum, Failure> {
        let chain = self.settlement.chain;
        let token = match sum {
            Sum::Sesh(_) => Some(self.settlement.contracts.token.into_array()),
            Sum::Native(_) => None,
        };
        let units = u128::try_from(sum.units());
        let units = units.map_err(|_| Failure::usage("nobody has so much", "give a smaller amount"))?;
        Ok(envelope::Sum { chain, token, units })
    }
}

/// A payment that is in a block.
struct Paid {
    transaction: B256,
    height: u64,
    fee: Sum,
}

fn sum(price: &Price) -> Result<Sum, Failure> {
    price.sum().map_err(|wrong| Failure::usage(wrong, "give a decimal number: session wallet send 5 alice"))
}

/// A sum, as programs are told.
fn amount(sum: Sum) -> Map<String, Value> {
    let coin = messages::coin(&sum);
    let fields = [("amount", json!(sum.number())), ("coin", json!(coin))];
    fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn with_note(words: String, note: Option<&str>) -> String {
    note.map_or_else(|| words.clone(), |note| format!("{words}\n{note}"))
}

impl From<WalletError> for Failure {
    fn from(error: WalletError) -> Self {
        let exit = match &error {
            WalletError::Send(SendError::Endpoint { .. } | SendError::Unmined { .. })
            | WalletError::TooFew { .. } => Exit::NotReady,
            WalletError::Nothing => Exit::Usage,
            WalletError::Lost { .. } | WalletError::Apart { .. } => Exit::Refused,
            _ => Exit::Failed,
        };
        Self::new(exit, error.code(), chain(&error), error.remedy())
    }
}
