package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Retention is how long the logs are kept in the store. Absent: for ever.
type Retention struct {
	// How long events are kept in the store, at least `1h`: `90d`, `2160h`. What is older is dropped in whole parts of 256
	// events, once a signed head covers them and every sink has them, or has not taken them for as long again; the log
	// verifies from there on. Absent: for ever, unless an operator prunes (`bursar audit prune`).
	Keep Age `yaml:"keep"`
	// The folder in which events are kept on before they are dropped, as files of C2SP tlog-tiles that verify by
	// themselves, below the origin of their log. `none` drops them without. Required beside `keep`. Servers that share a
	// Redis must share this folder, too.
	Archive string `yaml:"archive"`
}

// NoArchive is the Archive of those who keep nothing.
const NoArchive = "none"

// minKeep is the shortest time for which events are kept.
const minKeep = time.Hour

// Age is a duration that may be given in days.
type Age time.Duration

// UnmarshalText reads a whole number of days such as 90d, or what time.ParseDuration reads.
func (a *Age) UnmarshalText(text []byte) error {
	days, isDays := strings.CutSuffix(string(text), "d")
	if !isDays {
		d, err := time.ParseDuration(string(text))
		*a = Age(d)
		return err
	}
	n, err := strconv.ParseUint(days, 10, 16)
	*a = Age(time.Duration(n) * 24 * time.Hour)
	return err
}

// String writes the age as it can be read.
func (a Age) String() string {
	if d := time.Duration(a); d%(24*time.Hour) != 0 || d == 0 {
		return d.String()
	}
	return fmt.Sprintf("%dd", time.Duration(a)/(24*time.Hour))
}

func (v *validator) retention(r Retention) {
	if r.Keep != 0 && time.Duration(r.Keep) < minKeep {
		v.add("audit.retention.keep", "must be at least 1h")
	}
	if r.Keep != 0 && r.Archive == "" {
		v.add("audit.retention.archive", "is required: the folder in which events are kept on, or none")
	}
}
