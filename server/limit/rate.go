package limit

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// Rate is how often something may be done: Count times at once, and then again as the time Per passes. Written as
// "200/s", "10/m", "1000/h", or "off". Its zero value is the default of the place where it stands.
type Rate struct {
	Count int
	Per   time.Duration
	Off   bool // there is no limit
}

// maxCount bounds a rate; beyond it a limit is none, and should say so.
const maxCount = 1_000_000

var units = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}

// UnmarshalText reads a rate.
func (r *Rate) UnmarshalText(text []byte) error {
	if string(text) == "off" {
		*r = Rate{Off: true}
		return nil
	}
	count, unit, _ := strings.Cut(string(text), "/")
	n, err := strconv.ParseUint(count, 10, 32)
	per, known := units[unit]
	if err != nil || n == 0 || n > maxCount || !known || count[0] == '+' {
		return errors.New("is not a rate such as 200/s, 10/m or off")
	}
	*r = Rate{Count: int(n), Per: per}
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// String returns the rate as UnmarshalText reads it.
func (r Rate) String() string {
	if r.Off {
		return "off"
	}
	for unit, per := range units {
		if per == r.Per {
			return strconv.Itoa(r.Count) + "/" + unit
		}
	}
	return strconv.Itoa(r.Count) + " per " + r.Per.String()
}

// or returns r, or other if r is not given.
func (r Rate) or(other Rate) Rate {
	if r == (Rate{}) {
		return other
	}
	return r
}

// times returns the rate n times as high.
func (r Rate) times(n int) Rate {
	r.Count *= n
	return r
}

// Rules are the rates of one tenant. A zero rate is the default.
type Rules struct {
	Address        Rate // requests from one source address
	Client         Rate // requests of one client that has proven who it is
	Tenant         Rate // requests of the whole tenant
	SecretFailures Rate // wrong secrets for one client from one address
}

// Defaults are meant for a fleet: a core of this server makes some 7,000 exchanges a second, so that one source gets no
// more than about a third of it. At five minutes a token, 2,000 a second keep half a million agents supplied, behind
// one address or with one client id.
func Defaults() Rules {
	return Rules{
		Address:        Rate{Count: 2000, Per: time.Second},
		Client:         Rate{Count: 2000, Per: time.Second},
		Tenant:         Rate{Count: 10_000, Per: time.Second},
		SecretFailures: Rate{Count: 10, Per: time.Minute},
	}
}

// Unlimited has no limits at all.
func Unlimited() Rules {
	off := Rate{Off: true}
	return Rules{Address: off, Client: off, Tenant: off, SecretFailures: off}
}

// or returns the rules with the rates of others where they have none.
func (r Rules) or(others Rules) Rules {
	return Rules{
		Address:        r.Address.or(others.Address),
		Client:         r.Client.or(others.Client),
		Tenant:         r.Tenant.or(others.Tenant),
		SecretFailures: r.SecretFailures.or(others.SecretFailures),
	}
}
