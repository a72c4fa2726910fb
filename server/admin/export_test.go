package admin

// ParseToken returns the tenant whose operator token s says it is.
func ParseToken(s string) (home string, ok bool) { return parseToken(s) }
