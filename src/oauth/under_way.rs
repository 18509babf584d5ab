//! Which logins are being tried: a password costs 19 MiB and 25 ms of a processor, and few can wait for
//! one. Invariant: neither one network nor one account holds all places of [`super::password`]; what is
//! remembered is only what is under way.

use std::collections::HashMap;
use std::hash::Hash;

use super::network::Network;
use super::throttle::Name;

/// Of one network. Two, so that the second of two clicks is answered like the first.
const OF_A_NETWORK: u32 = 2;
/// Under one name. Not one: whoever tries a name over and over from elsewhere would keep its owner out.
const OF_A_NAME: u32 = 4;

/// All of them.
#[derive(Debug, Default)]
pub(super) struct UnderWay {
    networks: HashMap<Network, u32>,
    names: HashMap<Name, u32>,
}

impl UnderWay {
    /// Counts one, if there is room for it.
    pub(super) fn enter(&mut self, name: Name, network: Network) -> bool {
        let of_network = self.networks.get(&network).copied().unwrap_or(0);
        let of_name = self.names.get(&name).copied().unwrap_or(0);
        if of_network >= OF_A_NETWORK || of_name >= OF_A_NAME {
            return false;
        }
        self.networks.insert(network, of_network + 1);
        self.names.insert(name, of_name + 1);
        true
    }

    /// One that had entered is over.
    pub(super) fn leave(&mut self, name: Name, network: Network) {
        one_less(&mut self.networks, &network);
        one_less(&mut self.names, &name);
    }
}

fn one_less<K: Eq + Hash>(counts: &mut HashMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}
