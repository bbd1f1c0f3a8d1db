package clusterpushsecret

import (
	"testing"

	"github.com/keyferry/keyferry/api/externalsecrets/v1alpha1"
	"github.com/keyferry/keyferry/internal/fanout/fanouttest"
)

func TestStatusIsWrittenWhole(t *testing.T) {
	fanouttest.StatusIsWrittenWhole(t, kind(nil), func(cps *v1alpha1.ClusterPushSecret) *v1alpha1.ClusterPushSecretStatus { return &cps.Status })
}
