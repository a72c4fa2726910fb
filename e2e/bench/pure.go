package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
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

// pure is the CPU time of the bare cryptography, in µs, by Go's own library in the cheapest way it has. Of an
// exchange: SHA-256 of what a token signs, and ECDSA on P-256; a signature is made without randomness (RFC 6979). Of
// its event: Ed25519.
type pure struct {
	Sign        float64 `json:"sign_us"`
	Verify      float64 `json:"verify_us"`
	EventSign   float64 `json:"event_sign_us"`
	EventVerify float64 `json:"event_verify_us"`
}

// signed is as long as what a usual token signs, signedEvent as what an event of an exchange signs.
const (
	signed      = 700
	signedEvent = 1700
)

// measurePure measures n signatures of either kind and their verifications, on one processor.
func measurePure(n int) (p pure, err error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	if p.Sign, p.Verify, err = measureECDSA(n); err != nil {
		return p, err
	}
	p.EventSign, p.EventVerify, err = measureEd25519(n)
	return p, err
}

// measureEd25519 returns the CPU time of a signature and of its verification, in µs.
func measureEd25519(n int) (signing, verifying float64, err error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return 0, 0, err
	}
	messages, signatures := make([][signedEvent]byte, n), make([][]byte, n)
	for i := range messages {
		copy(messages[i][:], fmt.Sprint(i))
	}
	sign, err := ownCPU(func() error {
		for i := range messages {
			signatures[i] = ed25519.Sign(private, messages[i][:])
		}
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	verify, err := ownCPU(func() error {
		for i := range messages {
			if !ed25519.Verify(public, messages[i][:], signatures[i]) {
				return errors.New("a good signature is refused")
			}
		}
		return nil
	})
	return micros(sign) / float64(n), micros(verify) / float64(n), err
}

// measureECDSA returns the same of ES256.
func measureECDSA(n int) (signing, verifying float64, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return 0, 0, err
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
		return 0, 0, err
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
	return micros(sign) / float64(n), micros(verify) / float64(n), err
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
	of := func(figure func(pure) float64) float64 {
		var each []float64
		for _, p := range all {
			each = append(each, figure(p))
		}
		return median(each)
	}
	return pure{
		Sign:        of(func(p pure) float64 { return p.Sign }),
		Verify:      of(func(p pure) float64 { return p.Verify }),
		EventSign:   of(func(p pure) float64 { return p.EventSign }),
		EventVerify: of(func(p pure) float64 { return p.EventVerify }),
	}
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
