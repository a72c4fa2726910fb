package attack

import "strings"

// Gap is what no check can show, with the reason.
type Gap struct {
	Refs   []string `json:"refs"` // rows of the acceptance table (A23) and named attacks (T-20)
	Reason string   `json:"reason"`
}

// Gaps are the rows and attacks that no check refers to.
func Gaps() (all []Gap) {
	for _, g := range gaps {
		all = append(all, Gap{strings.Fields(g[0]), g[1]})
	}
	return all
}

// gaps are refs, and why they are not seen from outside.
var gaps = [][2]string{
	{"A23", "a run would have to wait until the server loses its patience"},
	{"B24", "a profile has one client with a key; it would take two"},
	{"B27 B28", "mutual TLS is not spoken here"},
	{"B30 D-27 T-48", "no SPIFFE, workload identity or TokenReview proofs are made here"},
	{"D-29 D-30 D-31 T-58", "an issuer's key server would have to be in the suite's hands, and to fail"},
	{"E10", "which issuers state scopes is known inside alone"},
	{"F21 F22", "types of authorization_details differ from server to server"},
	{"G1 G3 G4 G5 G6 G7 G8 G9 G10 G11 G12 G13 G14 G15 G16 G17", "no DPoP proofs are made here"},
	{"H2", "each server has addresses of its own for tenants"},
	{"H3 T-32 T-34 T-35", "what a policy or a condition says, and how it is registered, is known inside alone"},
	{"H4", "a quota is reached only with tokens that nobody wants to leave behind"},
	{"H5 H6 H7 H8 I9 T-55", "the server's log, store, keys or code would have to fail"},
	{"H9 T-20", "it shows in the server's log alone"},
	{"I11 I12 T-52", "registration and administration are not attacked here"},
	{"I13 I14 I15 I16 I17 T-62", "resource servers and proxies are not attacked here"},
	{"T-06", "one issuer would have to be trusted by two tenants on two conditions"},
	{"T-39", "random chains by the thousand are for a server's own tests"},
	{"T-54", "cutoffs are set by an operator"},
}
