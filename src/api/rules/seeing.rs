//! Who sees rules, their states and alerts: those who may change them, and those who see all that rules are made of.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::access::{Action, TenantView};
use crate::api::Shared;
use crate::api::audit::Note;
use crate::api::error::ApiError;
use crate::api::tenant::Caller;
use crate::query::matchers::Selector;
use crate::query::plan::leaves;
use crate::rules::{Rule, RuleExpr};
use crate::types::audit_stream::audit_stream;
use crate::types::ids::TenantId;

/// A tenant whose rules the caller may see. Labels and annotations of alerts are made of any stream's lines, so one who reads
/// some streams only, or masked ones, sees none; and one who may not see audit records sees no state of rules that may read
/// them.
pub(super) struct Seeing {
    pub(super) tenant: TenantId,
    hides_audit: bool,
}

impl Seeing {
    /// Whether the states of a rule are shown.
    pub(super) fn shows(&self, rule: &Rule) -> bool {
        !self.hides_audit || !may_read_audit(rule)
    }
}

fn may_read_audit(rule: &Rule) -> bool {
    let RuleExpr::LogQl(expr) = &rule.expr else { return false };
    let audit = audit_stream("any");
    leaves(expr).iter().any(|leaf| {
        let selector = Selector::compile(&leaf.range.log.matchers);
        selector.is_ok_and(|selector| selector.matches(&audit))
    })
}

impl FromRequestParts<Shared> for Seeing {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, ApiError> {
        let caller = Caller::of(parts)?;
        let tenant = caller.one_tenant()?;
        Note::of(parts).action(Action::Rules);
        match caller.principal.check(Action::Rules, &tenant) {
            Ok(()) => Ok(Seeing { tenant, hides_audit: false }),
            Err(refused) => match caller.scope(Action::Read) {
                Ok(scope) if scope.is_clear() => {
                    let hides_audit = !scope.views().iter().all(TenantView::shows_everything);
                    Ok(Seeing { tenant, hides_audit })
                }
                _ => Err(refused.into()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::read::read_group;

    #[test]
    fn rules_over_audit_records_are_known_by_their_selectors() {
        let check = |expr: &str, expected: bool| {
            let group = format!("name: g\nrules:\n- record: r\n  expr: '{expr}'\n");
            let group = read_group(&group).expect("good");
            assert_eq!(may_read_audit(&group.rules[0]), expected, "{expr}");
        };
        check(r#"sum(count_over_time({service="gateway"}[1m]))"#, false);
        check(r#"sum(count_over_time({logger="audit"}[1m]))"#, true);
        check(r#"sum(count_over_time({service="a"}[1m])) / sum(count_over_time({service=~".+"}[1m]))"#, true);
        check(r#"sum(count_over_time({service=~".+", logger!="audit"}[1m]))"#, false);
        check(r#"r{service="millrace"} > 1"#, false);
    }
}
