//! `session wallet`: what an account has, pays, asks for and was paid.

use alloy::primitives::{Address, B256, U256};
use indicatif::ProgressBar;
use serde_json::{Map, Value, json};
use session_chain::{
    account as chain_account,
    account::PrivateKeySigner,
    network::Settlement,
    settlement::{Delivery, Progress, SendError, Wallet, WalletError, wallet::Sum},
};
use session_client::{
    Account,
    envelope::{self, Draft, money},
    home::{Hex, Home, Outgoing},
};
use session_protocols::{AccountId, names::value};

use crate::{
    Context, account,
    args::{self, Money, Pay, Price},
    failure::{Exit, Failure, chain},
    inbox,
    network::{self, Access},
    payee::{self, Found, Payee},
    recipient::{Agreed, FoundBy, Recipient},
    sending,
    stake::lower,
    text,
};

mod balance;
mod claims;
mod faucet;
mod history;
mod messages;
mod outgoing;

#[cfg(test)]
pub(crate) use messages::tests::{claim, silent};
pub(crate) use messages::{Cashier, Said, learn, said};

pub(crate) async fn run(context: &Context, arguments: args::Wallet) -> Result<(), Failure> {
    let args::Wallet { account: named, deed } = arguments;
    if let Money::Import { yes } = deed {
        return account::import_key(context, named.as_deref(), yes).await;
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
        Money::Send(pay) => {
            if pay.paid.is_none() {
                network::agree(context, &till.name).await?;
            }
            let confirmations = sending::CONFIRMATIONS;
            till.send(pay, Delivery { poll, confirmations, ..Delivery::default() }).await
        }
        Money::Request { price, from, follow } => till.request(&price, &from, follow).await,
        Money::History { most } => till.history(most.into()).await,
        Money::Faucet { sesh } => till.faucet(&network, sesh).await,
        // Of a key that is imported nothing is asked of a network first.
        Money::Import { .. } => Ok(()),
    }
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
    async fn tell_address(&self, to: &str, follow: Option<AccountId>) -> Result<(), Failure> {
        let (sender, access) = (self.home.account(&self.name)?, Access::open(self.context).await?);
        let (whom, by) = self.person(&access, to, follow).await?;
        let address = self.signer.address();
        let words = format!("Pay me at {address}");
        let draft = Draft { text: &words, money: Some(money::Money::Wallet), wallet: Some(self.profile()?) };
        let sent = access.client.send(&sender, &whom, draft).await.map_err(|error| access.failed(error))?;
        let mut data = json!({
            "name": self.name, "address": lower(address), "told": whom, "hash": sent.hash.to_string(),
        });
        FoundBy::tell(by.as_ref(), &mut data);
        let (shown, by) = (text::plain(to), FoundBy::told_of(by.as_ref()));
        self.context.output.data(&data, || format!("{shown}{by} was told that you are paid at {address}"))
    }

    async fn request(&self, price: &Price, from: &str, follow: Option<AccountId>) -> Result<(), Failure> {
        let sum = sum(price)?;
        if sum.units().is_zero() {
            return Err(WalletError::Nothing.into());
        }
        let (sender, access) = (self.home.account(&self.name)?, Access::open(self.context).await?);
        let (whom, by) = self.person(&access, from, follow).await?;
        let words =
            with_note(format!("Please pay me {sum}, at {}", self.signer.address()), price.note.as_deref());
        let request = money::Money::Request { sum: self.in_words(sum)?, note: price.note.clone() };
        let draft = Draft { text: &words, money: Some(request), wallet: Some(self.profile()?) };
        let sent = access.client.send(&sender, &whom, draft).await.map_err(|error| access.failed(error))?;
        let mut data = Value::Object(amount(sum));
        data["from"] = json!(whom);
        data["hash"] = json!(sent.hash.to_string());
        FoundBy::tell(by.as_ref(), &mut data);
        let (shown, by) = (text::plain(from), FoundBy::told_of(by.as_ref()));
        self.context.output.data(&data, || format!("{shown}{by} was asked for {sum}"))
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
        if let Some(transaction) = pay.paid {
            return self.tell_paid(&pay, transaction, sum).await;
        }
        // Before anything is paid: whoever cannot be told is not paid either.
        let Payee { person, address: to, over, found, access } = self.payee(&pay).await?;
        let told = person.zip(access.as_ref());
        let by = FoundBy::told_of(found.as_ref());
        // Who has sold a name is paid by it until a checkpoint says so.
        let age = access.as_ref().filter(|_| found.is_some()).and_then(|access| access.client.names_age());
        let as_of = age.map_or_else(String::new, |age| format!(" (as of {})", text::time(age.ended_ms)));
        let asked = format!("{by}{as_of}");
        let paid = self.pay(&pay, (person, &*asked), to, sum, delivery).await?;
        let mut data = amount(sum);
        data.insert("to".to_owned(), json!(lower(to)));
        data.insert("found".to_owned(), json!(found.as_ref().map(|found| &found.name)));
        data.insert("first".to_owned(), json!(found.as_ref().is_some_and(|found| found.first)));
        data.insert("transaction".to_owned(), json!(paid.transaction.to_string()));
        data.insert("height".to_owned(), json!(paid.height));
        data.insert("cost".to_owned(), json!(paid.fee.number()));
        let mut last = String::new();
        if let Some((id, access)) = told {
            if let Err(error) = self.home.keep_agreed(&id, to.into_array(), over.map(Address::into_array)) {
                let warning =
                    format!("it is paid, and the address is not kept in the home: {}", chain(&error));
                self.context.output.warn(&warning);
            }
            data.insert("account".to_owned(), json!(id));
            let told = self.tell(access, &id, sum, paid.transaction, note).await;
            data.insert("told".to_owned(), json!(told.is_ok()));
            if let Err(failure) = told {
                // No failure: whoever repeats what failed would pay twice.
                let remedy = self.tell_again(sum, &pay.to, paid.transaction);
                self.context.output.warn(&format!(
                    "it is paid, and {} was not told: {}\n  fix: without paying again: {remedy}",
                    text::plain(&pay.to),
                    failure.message
                ));
                data.insert("remedy".to_owned(), json!(remedy));
            } else {
                self.settle(paid.transaction);
                last = format!("\n  told         {}{by}", text::plain(&pay.to));
            }
        } else {
            self.settle(paid.transaction);
            if !by.is_empty() {
                last = format!("\n  called       {}{by}", text::plain(&pay.to));
            }
        }
        self.context.output.data(&data, || {
            format!(
                "paid {sum} to {to}\n  transaction  {}\n  block        {}\n  cost         {}{last}",
                paid.transaction, paid.height, paid.fee
            )
        })
    }

    /// Keeps that a payment is made and told of. Nothing is lost where that fails: it is asked about once more.
    fn settle(&self, transaction: B256) {
        if let Err(error) = self.home.settle_payment(&self.id, &transaction.0) {
            self.context.output.warn(&format!("it is paid, and stays open in the home: {}", chain(&error)));
        }
    }

    /// Whom to tell of a payment, if anybody, with what tells them, and where they are paid. Who has never said where is
    /// asked by message.
    async fn payee(&self, pay: &Pay) -> Result<Payee, Failure> {
        let wallet = pay.new_address.map(|address| value::Wallet(address.into_array()));
        let agreed = Agreed { account: pay.follow, wallet };
        let found = payee::find(self.context, &self.home, Some(&self.name), &pay.to, Some(agreed)).await?;
        let (id, access) = match found {
            Found::At(payee) if payee.person.is_some() && payee.access.is_none() => {
                return Ok(Payee { access: Some(Access::open(self.context).await?), ..payee });
            }
            Found::At(payee) => return Ok(payee),
            Found::Unsaid(id, access) => (id, access),
        };
        let draft = Draft {
            text: "I want to pay you: at which address? Answer with: session wallet address --tell ME",
            money: Some(money::Money::WalletWanted),
            wallet: None,
        };
        let own = self.home.account(&self.name)?;
        access.client.send(&own, &id, draft).await.map_err(|error| access.failed(error))?;
        let shown = text::plain(&pay.to);
        Err(Failure::new(
            Exit::NotReady,
            "asked",
            format!(
                "{shown} has never signed for an address, and was asked for one by message; nothing is paid"
            ),
            "repeat it when the answer is here: session inbox shows it",
        ))
    }

    /// Tells what it costs, asks, and pays: whom, if that is known, and how they were found.
    async fn pay(
        &self,
        pay: &Pay,
        (whom, by): (Option<AccountId>, &str),
        to: Address,
        sum: Sum,
        delivery: Delivery,
    ) -> Result<Paid, Failure> {
        let envelope::Sum { chain: chain_id, token, units } = self.in_words(sum)?;
        let mut outgoing = Outgoing {
            from: Hex(self.signer.address().into_array()),
            to: Hex(to.into_array()),
            called: pay.to.clone(),
            whom,
            chain: chain_id,
            token: token.map(Hex),
            units,
            nonce: 0,
            transactions: Vec::new(),
            signed_ms: 0,
            is_open: true,
        };
        if !pay.again {
            self.refuse_twice(&outgoing).await?;
        }
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
        let whom =
            if name.eq_ignore_ascii_case(&to.to_string()) { name } else { format!("{name}{by} ({to})") };
        let what = format!("pay {sum} to {whom}");
        sending::tell_cost(self.context, &what, &self.name, wallet.address(), &quote.to_string());
        if !pay.sending.yes {
            sending::agree(self.context, &what, &quote.to_string())?;
        }
        let signed = wallet.sign(&call, &quote).await?;
        let hash = signed.hash().0;
        outgoing.nonce = signed.nonce();
        outgoing.transactions.push(Hex(hash));
        outgoing.signed_ms = inbox::now_ms();
        // Before it is sent: whatever happens then, the next command knows of it.
        if let Some(open) = self.home.begin_payment(&self.id, outgoing, pay.again)? {
            return Err(self.open(&open, None));
        }
        let bar = ProgressBar::new_spinner();
        let mut kept = Ok(());
        let sent = wallet.deliver(signed, |progress| {
            if let Progress::Bumped { hash: by, .. } = progress {
                kept = self.home.keep_replacement(&self.id, &hash, by.0);
            }
            sending::show(&bar, progress);
        });
        let sent = sent.await;
        bar.finish_and_clear();
        if let Err(error) = kept {
            self.context.output.warn(&format!("a transaction is not kept in the home: {}", chain(&error)));
        }
        let receipt = sent.map_err(|error| self.unsure(error, sum, pay))?;
        let fee = U256::from(receipt.gas_used).saturating_mul(U256::from(receipt.effective_gas_price));
        let (transaction, height) = (receipt.transaction_hash, receipt.block_number.unwrap_or_default());
        Ok(Paid { transaction, height, fee: Sum::Native(fee) })
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

    /// Whom a text means who can be written to, and by which name of the network they were found, if by one.
    async fn person(
        &self,
        access: &Access,
        text: &str,
        follow: Option<AccountId>,
    ) -> Result<(AccountId, Option<FoundBy>), Failure> {
        let whom = Recipient::read(self.context, &self.home, text)?;
        whom.found(self.context, &self.home, access, Some(Agreed::account(follow))).await
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
