package inject

import (
	"crypto/x509"
	"time"
)

// Known makes token endpoints known by other certificates than the system's.
func (in *Injector) Known(roots *x509.CertPool) { in.roots = roots }

// At sets the clock.
func (in *Injector) At(now func() time.Time) { in.now = now }

// Pause is how often a token can be dropped.
const Pause = pause
