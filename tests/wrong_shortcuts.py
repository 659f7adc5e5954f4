"""Ways to get ``second_order_and_backward`` of Dense and Conv2D wrong; wrong_second_order.py has them checked."""

import numpy as np


def spread(share, x):
    return share.reshape(-1, *[1] * (x.ndim - 1))


def shortcut(base, method):
    """``base`` with another ``second_order_and_backward``."""
    return type(f"Wrong{base.__name__}", (base,), {"second_order_and_backward": method})


def half_the_share(self, v, g, share):
    return super(type(self), self).second_order_and_backward(v, g, 0.5 * share)


def nothing_for_the_bias(self, v, g, share):
    before = self.grads["b"].copy()
    super(type(self), self).second_order_and_backward(v, g, share)
    self.grads["b"][...] = before
    return True


def v_forgotten(self, v, g, share):
    return super(type(self), self).second_order_and_backward(0.0 * v, g, share)


def no_share_for_the_weights(self, v, g, share):
    self.second_order(v, g)
    self.grads["b"] += (spread(share, g) * g).reshape(-1, g.shape[-1]).sum(axis=0)
    return True


def one_share_for_all(self, v, g, share):
    return super(type(self), self).second_order_and_backward(v, g, np.full_like(share, share.mean()))


def works_and_says_false(self, v, g, share):
    return not super(type(self), self).second_order_and_backward(v, g, share)


def says_true_and_rests(self, v, g, share):
    return True


def in_place(self, v, g, share):
    (x,) = self._peek()
    v += spread(share, x) * x
    self.second_order(v, g)
    self.grads["b"] += (spread(share, g) * g).reshape(-1, g.shape[-1]).sum(axis=0)
    return True


def closes_the_pass(self, v, g, share):
    served = super(type(self), self).second_order_and_backward(v, g, share)
    self.forget()
    return served


OF_W, OF_B = (rf"what it adds to grads\['{key}'\] differs from what second_order" for key in "Wb")
SHORTCUTS = {
    half_the_share: OF_W,
    nothing_for_the_bias: OF_B,
    v_forgotten: OF_W,
    no_share_for_the_weights: OF_W,
    one_share_for_all: OF_W,
    works_and_says_false: "returns False, but has changed",
    says_true_and_rests: OF_W,
    in_place: "has changed v, g or share",
    closes_the_pass: "has not left the pass open",
}
NOTICED_BY_THE_PASS = list(SHORTCUTS)[:7]  # a critic works with the others; whoever calls the layer next does not
