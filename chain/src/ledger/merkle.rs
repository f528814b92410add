//! Merkle trees that contracts check: OpenZeppelin's, with leaves hashed twice and pairs sorted.
//!
//! Source: the `StandardMerkleTree` of `@openzeppelin/merkle-tree`, whose proofs `MerkleProof.verify` takes.

use alloy::primitives::{B256, keccak256};

/// A tree over the hashes of its leaves, which are kept in ascending order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// The root first, the leaves last, in descending order: `nodes[i]` is over `2i + 1` and `2i + 2`.
    nodes: Vec<B256>,
}

/// The hash of a leaf, of its ABI encoding.
pub fn leaf(encoded: &[u8]) -> B256 {
    keccak256(keccak256(encoded))
}

/// Whether `proof` leads from `leaf` to `root`.
pub fn proves(root: B256, leaf: B256, proof: &[B256]) -> bool {
    proof.iter().fold(leaf, |hash, sibling| pair(hash, *sibling)) == root
}

impl Tree {
    /// The tree over these leaves, in whatever order they come.
    pub fn new(mut leaves: Vec<B256>) -> Self {
        leaves.sort_unstable_by(|one, other| other.cmp(one));
        let inner = leaves.len().saturating_sub(1);
        let mut nodes = vec![B256::ZERO; inner];
        nodes.append(&mut leaves);
        for at in (0..inner).rev() {
            let (left, right) = (nodes.get(2 * at + 1), nodes.get(2 * at + 2));
            if let (Some(left), Some(right)) = (left, right) {
                let over = pair(*left, *right);
                if let Some(node) = nodes.get_mut(at) {
                    *node = over;
                }
            }
        }
        Self { nodes }
    }

    /// The root; zero where there are no leaves.
    pub fn root(&self) -> B256 {
        self.nodes.first().copied().unwrap_or_default()
    }

    /// What leads from a leaf to the root; none when it is not in the tree.
    pub fn proof(&self, leaf: B256) -> Option<Vec<B256>> {
        let first = self.nodes.len() / 2;
        let leaves = self.nodes.get(first..)?;
        let mut at = first + leaves.binary_search_by(|node| leaf.cmp(node)).ok()?;
        let mut proof = Vec::new();
        while at > 0 {
            let sibling = if at.is_multiple_of(2) { at - 1 } else { at + 1 };
            proof.push(*self.nodes.get(sibling)?);
            at = (at - 1) / 2;
        }
        Some(proof)
    }
}

fn pair(one: B256, other: B256) -> B256 {
    let (low, high) = if one < other { (one, other) } else { (other, one) };
    keccak256([low.as_slice(), high.as_slice()].concat())
}

#[cfg(test)]
mod tests {
    use alloy::{
        primitives::{Address, U256, address, b256},
        sol_types::SolValue,
    };

    use super::*;

    fn numbered(count: u8) -> Vec<B256> {
        (0..count).map(|number| leaf(&[number])).collect()
    }

    #[test]
    fn each_leaf_has_a_proof_and_nothing_else_has() {
        for count in 0..40 {
            let leaves = numbered(count);
            let tree = Tree::new(leaves.iter().rev().copied().collect());
            assert_eq!(tree, Tree::new(leaves.clone()), "the order does not matter");
            for leaf in leaves {
                let proof = tree.proof(leaf).unwrap();
                assert!(proves(tree.root(), leaf, &proof));
                assert!(!proves(tree.root(), keccak256(leaf), &proof));
            }
            assert_eq!(tree.proof(leaf(&[200])), None);
        }
        assert_eq!(Tree::new(Vec::new()).root(), B256::ZERO);
    }

    /// The example of the library's own README: 5 and 2.5 tokens of 18 decimals.
    #[test]
    fn it_is_the_tree_of_openzeppelin() {
        let entry = |account: Address, tenths: u64| {
            leaf(&(account, U256::from(tenths) * U256::from(10).pow(U256::from(17))).abi_encode())
        };
        let tree = Tree::new(vec![
            entry(address!("1111111111111111111111111111111111111111"), 50),
            entry(address!("2222222222222222222222222222222222222222"), 25),
        ]);
        let root = b256!("d4dee0beab2d53f2cc83e567171bd2820e49898130a22622b10ead383e90bd77");
        assert_eq!(tree.root(), root);
    }
}
