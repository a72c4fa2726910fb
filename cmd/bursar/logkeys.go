package main

import (
	"context"
	"fmt"

	"github.com/bursar-sts/bursar/clients/operator"
)

// keyLine is a key, and what it signs: tokens, or the events or the checkpoints of the log.
type keyLine struct {
	operator.Key
	Use string `json:"use"`
}

func ofTokens(keys []operator.Key) (lines []keyLine) {
	for _, k := range keys {
		lines = append(lines, keyLine{k, "token"})
	}
	return lines
}

func ofLog(keys []operator.LogKey) (lines []keyLine) {
	for _, k := range keys {
		lines = append(lines, keyLine{k.Key, string(k.Use)})
	}
	return lines
}

// logKeys are the calls about the keys of one log.
type logKeys struct {
	list, rotate func(context.Context) ([]operator.LogKey, error)
	revoke       func(ctx context.Context, kid string) ([]operator.LogKey, error)
}

// keysOf returns the calls about the log of a tenant, or of the platform if the slug is "".
func keysOf(c *operator.Client, slug string) logKeys {
	if slug == "" {
		return logKeys{c.PlatformLogKeys, c.RotatePlatformLogKeys, c.RevokePlatformLogKey}
	}
	return logKeys{
		list:   func(ctx context.Context) ([]operator.LogKey, error) { return c.LogKeys(ctx, slug) },
		rotate: func(ctx context.Context) ([]operator.LogKey, error) { return c.RotateLogKeys(ctx, slug) },
		revoke: func(ctx context.Context, kid string) ([]operator.LogKey, error) {
			return c.RevokeLogKey(ctx, slug, kid)
		},
	}
}

// overlapping says until when the key of checkpoints that was replaced last signs beside the other.
func overlapping(keys []operator.LogKey) (notes []string) {
	for _, k := range keys {
		if k.Use == operator.LogCheckpoints && k.State == operator.KeyRetired {
			return []string{fmt.Sprintf("checkpoints are signed with %s too until %s: give verifiers the new key meanwhile",
				k.KeyID, stamp(k.Until))}
		}
	}
	return nil
}
