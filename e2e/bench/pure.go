package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"syscall"
	"time"
)

// pure is the CPU time of the bare cryptography of an exchange, in µs: SHA-256 of what a token signs, and ECDSA on
// P-256, by Go's own library in the cheapest way it has: a signature is made without randomness (RFC 6979).
type pure struct {
	Sign   float64 `json:"sign_us"`
	Verify float64 `json:"verify_us"`
}

// signed is as long as what a usual token signs.
const signed = 700

// measurePure measures n signatures and their verifications, on one processor.
func measurePure(n int) (pure, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pure{}, err
	}
	messages := make([][signed]byte, n)
	signatures := make([][]byte, n)
	for i := range messages {
		copy(messages[i][:], fmt.Sprint(i))
	}
	sign, err := ownCPU(func() error {
		for i := range messages {
			sum := sha256.Sum256(messages[i][:])
			var err error
			if signatures[i], err = key.Sign(nil, sum[:], crypto.SHA256); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return pure{}, err
	}
	verify, err := ownCPU(func() error {
		for i := range messages {
			sum := sha256.Sum256(messages[i][:])
			if !ecdsa.VerifyASN1(&key.PublicKey, sum[:], signatures[i]) {
				return errors.New("a good signature is refused")
			}
		}
		return nil
	})
	return pure{Sign: micros(sign) / float64(n), Verify: micros(verify) / float64(n)}, err
}

// ownCPU returns the CPU time that this process spends in f; nothing else runs in it meanwhile.
func ownCPU(f func() error) (time.Duration, error) {
	before, err := spent()
	if err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	after, err := spent()
	return after - before, err
}

func spent() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, err
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

func medianPure(all []pure) pure {
	var sign, verify []float64
	for _, p := range all {
		sign, verify = append(sign, p.Sign), append(verify, p.Verify)
	}
	return pure{Sign: median(sign), Verify: median(verify)}
}

func median(all []float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	if half := len(sorted) / 2; len(sorted)%2 == 0 {
		return (sorted[half-1] + sorted[half]) / 2
	}
	return sorted[len(sorted)/2]
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
