// Package auditor verifies a signed log of bursar without bursar: offline, with the log's public key alone. It holds
// the formats of the log and what can be proved from them, and no code of the server.
//
// A log is a sequence of Security Event Tokens (RFC 8417), one per decision, each signed by the server that took it.
// They are the leaves of a Merkle tree (RFC 6962), whose head the server signs as a checkpoint (C2SP tlog-checkpoint).
// The files of the tree and of its entries are those of C2SP tlog-tiles, so that other tools for transparency logs
// read them too.
package auditor
