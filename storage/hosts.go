package storage

import (
	"slices"
	"strings"

	"github.com/bursar-sts/bursar/storage/redis"
)

// Hosts returns the host:port pairs that a store's URL names; none for the embedded store.
func Hosts(url string) ([]string, error) {
	scheme, _, _ := strings.Cut(url, ":")
	if !slices.Contains(redis.Schemes(), scheme) {
		return nil, nil
	}
	return redis.Hosts(url)
}
