package clients

import "github.com/bursar-sts/bursar/clients/token"

// Methods are the names by which a client's authentication is announced (RFC 8414 §2). A workload's identity token is
// presented in the form of private_key_jwt, or needs no announcement because it is the subject of the exchange.
func Methods() []string {
	return []string{string(MethodPrivateKeyJWT), string(MethodSecretBasic), string(MethodSecretPost)}
}

// AssertionAlgorithms are the algorithms of acceptable client assertions.
func AssertionAlgorithms() []string { return token.Algorithms() }
