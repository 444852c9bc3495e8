"""The dynamics and the rule of the tutorial, in plain NumPy that shares no code with ours."""

import numpy as np


class Reference:
    """One hidden layer: W_in (x to s), J (s to s), W_back (y to s, frozen), W_out (s to y)."""

    def __init__(self, W_in, J, W_back, W_out, *, thresholds, j_d, back):
        self.W_in, self.W_back, self.W_out = (np.array(w) for w in (W_in, W_back, W_out))
        self.J = np.array(J)
        for i in range(len(self.J)):
            self.J[i, i] = j_d
        self.thresholds, self.back = thresholds, back
        self.weights = [self.W_in, self.J, self.W_out]
        self.moments = [(np.zeros_like(w), np.zeros_like(w)) for w in self.weights]
        self.time = 0

    @staticmethod
    def sign(field):
        return np.where(field >= 0, 1, -1).astype(field.dtype)

    def free(self, x, s):
        return self.sign(x @ self.W_in + s @ self.J)

    def forced(self, x, s, y):
        return self.sign(x @ self.W_in + s @ self.J + (y @ self.W_back) * self.back)

    def settle(self, x, y, forced_steps, free_steps):
        s = np.zeros((len(x), len(self.J)), x.dtype)
        for _ in range(forced_steps):
            s = self.forced(x, s, y)
        for _ in range(free_steps):
            s = self.free(x, s)
        return s

    def pseudo_gradients(self, x, s, y, own_message=True):
        recurrent = x @ self.W_in + s @ self.J
        margins = {
            "in": x @ self.W_in if own_message else recurrent,
            "J": recurrent,
            "out": s @ self.W_out,
        }
        edges = {"in": (x, s), "J": (s, s), "out": (s, y)}
        out = []
        for name, threshold in zip(("in", "J", "out"), self.thresholds, strict=True):
            before, after = edges[name]
            mistaken = after * margins[name] <= threshold
            update = -before.T @ np.where(mistaken, after, 0) / len(x)
            out.append(update)
        np.fill_diagonal(out[1], 0)
        return out

    def adam(self, gradients, rate, beta1=0.9, beta2=0.999, epsilon=1e-8):
        self.time += 1
        for w, g, (m, v) in zip(self.weights, gradients, self.moments, strict=True):
            m += (1 - beta1) * (g - m)
            v += (1 - beta2) * (g * g - v)
            mean, power = m / (1 - beta1**self.time), v / (1 - beta2**self.time)
            w -= (rate * mean / (np.sqrt(power) + epsilon)).astype(w.dtype)

    def scores(self, x, steps):
        s = np.zeros((len(x), len(self.J)), x.dtype)
        for _ in range(steps):
            s = self.free(x, s)
        return s @ self.W_out
