//! Windows over panes by two stacks: each pane is merged a bounded number of times, however much windows overlap,
//! and nothing is ever subtracted.

use super::Pane;
use super::state::PaneState;

/// Calls `emit` with the merged state of every window that has a pane. Panes ascend.
pub(super) fn slide(panes: Vec<Pane>, steps: usize, mut emit: impl FnMut(usize, &PaneState)) {
    let mut coming = panes.into_iter().peekable();
    // Panes in the window: `front` holds, top last, what the panes from each on make together; `back` what came since.
    let mut front: Vec<(usize, PaneState)> = Vec::new();
    let mut back: Vec<(usize, PaneState)> = Vec::new();
    let mut back_sum: Option<PaneState> = None;
    for step in 0..steps {
        while let Some(pane) = coming.next_if(|pane| pane.first <= step) {
            match &mut back_sum {
                Some(sum) => sum.merge(pane.state.clone()),
                None => back_sum = Some(pane.state.clone()),
            }
            back.push((pane.last, pane.state));
        }
        loop {
            while front.last().is_some_and(|(last, _)| *last < step) {
                front.pop();
            }
            let leaves_back = front.is_empty() && back.first().is_some_and(|(last, _)| *last < step);
            if !leaves_back {
                break;
            }
            // The older part is empty: turn the newer over.
            let mut sum: Option<PaneState> = None;
            for (last, state) in back.drain(..).rev() {
                let mut together = state;
                if let Some(later) = sum {
                    together.merge(later);
                }
                sum = Some(together.clone());
                front.push((last, together));
            }
            back_sum = None;
        }
        match (front.last(), &back_sum) {
            (Some((_, older)), Some(newer)) => {
                let mut whole = older.clone();
                whole.merge(newer.clone());
                emit(step, &whole);
            }
            (Some((_, only)), None) | (None, Some(only)) => emit(step, only),
            (None, None) => {}
        }
    }
}
