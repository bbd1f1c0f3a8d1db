package awsidentity

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/keyferry/keyferry/internal/httpx"
	"github.com/keyferry/keyferry/secret"
)

// Fail returns what a client of the session failed with as a *secret.Error for an
// operation on ref, and nil for nil. Its text has the service's error code and nothing
// else of what the service sent, and names the IAM action or the field that would help.
func (s *Session) Fail(op string, ref secret.Ref, err error) error {
	if err == nil {
		return nil
	}
	failed := s.classify(err)
	failed.Ref = ref
	if failed.Op != "login" { // a login failed before the operation
		failed.Op, failed.Provider = op, s.spec.Provider
	}
	return failed
}

// Code returns the error code that a service answered with; empty if it did not answer.
func Code(err error) string {
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		return e.ErrorCode()
	}
	return ""
}

// Refused reports whether the service itself refused the call because no policy allows
// it; a login that was refused is not meant.
func Refused(err error) bool {
	e, ok := errors.AsType[smithy.APIError](err)
	return ok && kindOf(e) == secret.Denied
}

// CodeError returns the error for a code that a service put into an answer that
// succeeded as a whole: of one item of a batch.
func (s *Session) CodeError(op string, ref secret.Ref, code, message string) error {
	e := &smithy.GenericAPIError{Code: code, Message: message}
	kind := kindOf(e)
	if kind == "" {
		kind = secret.Invalid // as a status of 400 without a known code is
	}
	return &secret.Error{Kind: kind, Op: op, Provider: s.spec.Provider, Ref: ref, Err: fmt.Errorf("the answer was %s", printable(code))}
}

func (s *Session) classify(err error) *secret.Error {
	if known, ok := errors.AsType[*secret.Error](err); ok {
		out := *known
		return &out
	}
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		return s.answered(err, e)
	}
	if e, ok := errors.AsType[smithy.InvalidParamsError](err); ok {
		return &secret.Error{Kind: secret.Invalid, Err: fmt.Errorf("the request lacks what AWS requires: %d fields", e.Len())}
	}
	if status := s.status(err); status != nil {
		return status
	}
	out := httpx.Classify(err)
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		out.Err = fmt.Errorf("%w: check %s.region", out.Err, s.spec.Field)
	}
	return out
}

// answered is for errors that the service sent.
func (s *Session) answered(err error, e smithy.APIError) *secret.Error {
	out := &secret.Error{Kind: kindOf(e)}
	if status := s.status(err); status != nil {
		out.RetryAfter = status.RetryAfter
		if out.Kind == "" {
			out.Kind = status.Kind
		}
	}
	if out.Kind == "" {
		out.Kind = secret.Internal
	}
	call, action := "AWS", ""
	if o, ok := errors.AsType[*smithy.OperationError](err); ok {
		call = o.Service() + " " + o.Operation()
		action = strings.ToLower(strings.NewReplacer("Secrets Manager", "secretsmanager", " ", "-").Replace(o.Service())) + ":" + o.Operation()
	}
	hint := ""
	switch {
	case out.Kind == secret.Denied && (strings.Contains(e.ErrorCode()+e.ErrorMessage(), "KMS") || strings.HasSuffix(e.ErrorCode(), "cryptionFailure")):
		hint = ": the policies must allow the KMS key of the secret to be used, beside " + action
	case out.Kind == secret.Denied:
		hint = ": no policy allows " + action
	case e.ErrorCode() == "RegionDisabledException":
		hint = ": check " + s.spec.Field + ".region"
	}
	out.Err = fmt.Errorf("%s answered %s%s", call, printable(e.ErrorCode()), hint)
	return out
}

// status is what the HTTP status of an answer means; nil if there was no answer, or one
// that says success.
func (s *Session) status(err error) *secret.Error {
	e, ok := errors.AsType[*awshttp.ResponseError](err)
	if !ok || e.Response == nil || e.Response.Response == nil || e.Response.StatusCode == 0 {
		return nil
	}
	out := httpx.Status(e.Response.Response, s.clock.Now())
	if out == nil {
		return &secret.Error{Kind: secret.Unavailable, Err: errors.New("the answer is not one of AWS: something else answers in its place, or the connection broke")}
	}
	if out.Kind == secret.NotFound || out.Kind == secret.Conflict { // AWS says that by a code
		out.Kind = secret.Invalid
	}
	return out
}

// codes are the error codes of the services that are in use, as they document them. What
// is not here is told by the HTTP status.
func codes() map[secret.Kind][]string {
	return map[secret.Kind][]string{
		secret.NotFound: {"ResourceNotFoundException", "ParameterNotFound", "ParameterVersionNotFound"},
		secret.Denied: {
			"AccessDeniedException", "AccessDenied", "UnauthorizedOperation", "NotAuthorized", "OptInRequired", "SubscriptionRequiredException",
			"DecryptionFailure", "EncryptionFailure", "KmsException", "KMSAccessDeniedException", "KMSInvalidStateException",
			"KMSNotFoundException", "DisabledException", "KeyUnavailableException", "KMSInternalException",
		},
		secret.Unauthenticated: {
			"UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId", "ExpiredToken", "ExpiredTokenException", "RequestExpired",
			"InvalidSignatureException", "SignatureDoesNotMatch", "IncompleteSignature", "IncompleteSignatureException", "MissingAuthenticationToken",
			"MissingAuthenticationTokenException", "InvalidToken", "AuthFailure", "InvalidIdentityToken", "InvalidIdentityTokenException",
			"IDPRejectedClaim", "IDPRejectedClaimException", "NotSignedIn", "RequestTimeTooSkewed",
		},
		secret.Conflict: {"ResourceExistsException", "ParameterAlreadyExists", "ConcurrentModificationException"},
		secret.RateLimited: {
			"LimitExceededException", "TooManyUpdates", "ParameterLimitExceeded", "SlowDown", "RequestLimitExceeded", "Throttling", "ThrottledException",
		},
		secret.Unavailable: {
			"InternalServiceError", "InternalServiceErrorException", "InternalServerError", "InternalFailure", "ServiceUnavailable",
			"ServiceUnavailableException", "ServerException", "RequestTimeout", "RequestTimeoutException", "IDPCommunicationError",
			"IDPCommunicationErrorException",
		},
	}
}

// kindOf is what a code means; empty if the code says nothing to us.
func kindOf(e smithy.APIError) secret.Kind {
	if _, throttled := retry.DefaultThrottleErrorCodes[e.ErrorCode()]; throttled {
		return secret.RateLimited
	}
	if e.ErrorCode() == "InvalidRequestException" && deleted(e.ErrorMessage()) {
		return secret.NotFound
	}
	for kind, known := range codes() {
		if slices.Contains(known, e.ErrorCode()) {
			return kind
		}
	}
	return ""
}

// Deleted reports whether the service refused a call because the secret is scheduled
// to be deleted.
func Deleted(err error) bool {
	e, ok := errors.AsType[smithy.APIError](err)
	return ok && e.ErrorCode() == "InvalidRequestException" && deleted(e.ErrorMessage())
}

func deleted(message string) bool {
	return strings.Contains(message, "marked for deletion") || strings.Contains(message, "marked deleted") ||
		strings.Contains(message, "scheduled for deletion") || strings.Contains(message, "was deleted")
}

// code is the form of error codes: whoever answers in the place of AWS may put anything
// there.
var code = regexp.MustCompile(`^[A-Za-z0-9.]{1,64}$`)

func printable(text string) string {
	if code.MatchString(text) {
		return text
	}
	return "with an error"
}
