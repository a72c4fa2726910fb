package attack

import (
	"context"
	"strings"

	"github.com/bursar-sts/bursar/cmd/internal/attack/findings"
)

// is describes a check; refs are separated by spaces.
func is(id, refs string, c findings.Class, s findings.Severity, title, basis, advice string) findings.Check {
	return findings.Check{ID: id, Refs: strings.Fields(refs), Class: c, Severity: s, Title: title, Basis: basis,
		Advice: advice}
}

// offers is the need of something that the profile may offer.
func offers(there func(*suite) bool, reason string) need {
	return func(_ context.Context, s *suite) (findings.Verdict, string) {
		if there(s) {
			return "", ""
		}
		return findings.Skip, reason
	}
}

var (
	hasCredentials = offers(func(s *suite) bool { return s.client.confidential() },
		"the profile's client has no credentials of its own")
	hasSecret = offers(func(s *suite) bool { return s.client.hasSecret() },
		"the profile's client does not authenticate by a secret")
	hasBasic = offers(func(s *suite) bool { return s.client.auth == authBasic },
		"the profile's client does not authenticate by HTTP Basic")
	hasAssertion = offers(func(s *suite) bool { return s.client.auth == authKey },
		"the profile's client does not authenticate by private_key_jwt")
	hasOther     = offers(func(s *suite) bool { return s.other != nil }, "the profile names no others.client")
	hasUngranted = offers(func(s *suite) bool { return s.ungranted != nil },
		"the profile names no others.ungranted_client")
	hasDisabled = offers(func(s *suite) bool { return s.disabled.confidential() },
		"the profile names no others.disabled_client with credentials")
	hasForeign = offers(func(s *suite) bool { return s.foreign.confidential() },
		"the profile names no others.foreign_client with credentials")
	hasScope = offers(func(s *suite) bool { return s.profile.Request.Scope != "" },
		"the profile's request has no scope")
	hasNarrower = offers(func(s *suite) bool { return s.profile.Try.NarrowerScope != "" },
		"the profile names no try.narrower_scope")
	hasDeniedScope = offers(func(s *suite) bool { return s.profile.Try.DeniedScope != "" },
		"the profile names no try.denied_scope")
	hasForeignScope = offers(func(s *suite) bool { return s.profile.Try.ForeignScope != "" },
		"the profile names no try.foreign_scope")
	hasSameAudience = offers(func(s *suite) bool { return s.profile.Try.SameAudience != "" },
		"the profile names no try.same_audience")
	hasDeniedTarget = offers(func(s *suite) bool {
		return s.profile.Try.DeniedResource != "" || s.profile.Try.DeniedAudience != ""
	},
		"the profile names no try.denied_resource or try.denied_audience")
	hasTarget = offers(func(s *suite) bool { return s.profile.Request.Resource+s.profile.Request.Audience != "" },
		"the profile's request names no resource and no audience")
	hasResource = offers(func(s *suite) bool { return s.profile.Request.Resource != "" },
		"the profile's request names no resource")
	hasReader = offers(func(s *suite) bool { return s.reader != nil },
		"the profile names no others.resource_server, and its client has no credentials")
	hasFlood = offers(func(s *suite) bool { return s.profile.Try.Flood > 0 },
		"the profile does not allow it: try.flood is how many wrong secrets may be sent")
	hasMayAct = offers(func(s *suite) bool { return s.profile.Delegation != nil && s.profile.Delegation.MayAct != nil },
		"the profile names no delegation.may_act, by which subject tokens name the profile's actor")
	hasOtherActor = offers(func(s *suite) bool { return s.delegation != nil && s.delegation.otherActor != nil },
		"the profile names no delegation.other_actor")
	isOnce = offers(func(s *suite) bool { return s.subject.config.Once },
		"the profile does not say of its subject tokens that they are good once")
)

// publishes is the need of something in the server's metadata.
func publishes(there func(*suite) bool, reason string) need {
	return func(_ context.Context, s *suite) (findings.Verdict, string) {
		if there(s) {
			return "", ""
		}
		return findings.NotApplicable, reason
	}
}

var (
	hasMetadata = publishes(func(s *suite) bool { return s.server.metadata != nil },
		"the server publishes no metadata")
	hasIssuer = publishes(func(s *suite) bool { return s.server.named },
		"the server's issuer is not known: server.issuer in the profile, or metadata, would say it")
	hasIntrospection = publishes(func(s *suite) bool { return s.server.Introspection != "" },
		"the server names no introspection endpoint")
	hasRevocation = publishes(func(s *suite) bool { return s.server.Revocation != "" },
		"the server names no revocation endpoint")
	hasKeys = publishes(func(s *suite) bool { return s.server.Keys != "" }, "the server names no jwks_uri")
)

// delegates is the need of a delegation that works.
func delegates(_ context.Context, s *suite) (findings.Verdict, string) {
	switch {
	case s.delegation == nil:
		return findings.Skip, "the profile says nothing about delegation"
	case !s.delegation.works:
		return findings.Error, "the good request with an actor token gets no token: " + s.delegation.reason
	}
	return "", ""
}

// exchangesAgain is the need of a server that takes its own tokens as subject tokens.
func exchangesAgain(_ context.Context, s *suite) (findings.Verdict, string) {
	switch {
	case s.again.works:
		return "", ""
	case s.profile.Again != nil:
		return findings.Error, "the profile says that the server's own token can be exchanged, and the request gets no " +
			"token: " + s.again.reason
	}
	return findings.NotApplicable, "the server does not take its own access token as a subject token: " + s.again.reason
}

// forged is the need of a source whose issuer's key the suite has.
func forged(of func(*suite) *source) need {
	return func(_ context.Context, s *suite) (findings.Verdict, string) {
		if o := of(s); o != nil && o.key != nil {
			return "", ""
		}
		return findings.Skip, "the profile has no issuer's key to forge such a token with (issuer, with its key_file)"
	}
}
